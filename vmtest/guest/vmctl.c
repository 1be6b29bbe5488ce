// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// The guest's way to talk to vmtest on the host: records on the third virtio console, and the end of the VM.
// A record is a line "\001mpsvm WORD…\n"; those that end in a size are followed by that many bytes
// (mpsvm/control.py reads them).
//
//   vmctl setup            make the consoles pass bytes unchanged
//   vmctl say WORD...      send a record
//   vmctl put FILE [NAME]  send a file; the host keeps it under NAME, or the file's own name
//   vmctl kmsg             send the kernel's log
//   vmctl exit             end the VM at once, after all that was written has left
//
// As the process with id 1 it ends the VM: that is how vmtest tries whether an accelerator works.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define CONTROL_PORT "/dev/hvc2"
// QEMU ends with (this << 1) | 1 (mpsvm/qemu.py knows it too). Not 0, since QEMU's own troubles end in 1.
#define EXIT_VALUE 42

#if defined(__x86_64__)
#include <sys/io.h>
#define SERIAL_PORT "/dev/ttyS0"
#define EXIT_IO_PORT 0xf4

static void end_qemu(void)
{
	if (ioperm(EXIT_IO_PORT, 4, 1) == 0)
		outb(EXIT_VALUE, EXIT_IO_PORT);
}
#elif defined(__aarch64__)
#define SERIAL_PORT "/dev/ttyAMA0"

// SYS_EXIT of ARM's semihosting, which QEMU offers to programs as well (userspace=on).
static void end_qemu(void)
{
	unsigned long block[] = {0x20026 /* ADP_Stopped_ApplicationExit */, EXIT_VALUE << 1 | 1};
	register unsigned long operation __asm__("x0") = 0x18;
	register unsigned long *parameters __asm__("x1") = block;

	__asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(parameters) : "memory");
}
#else
#error "How does QEMU end on this architecture?"
#endif

static const char *const ports[] = {SERIAL_PORT, "/dev/hvc0", "/dev/hvc1", CONTROL_PORT};

static int trouble(const char *what)
{
	fprintf(stderr, "vmctl: %s: %s\n", what, strerror(errno));
	return 1;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t written = write(fd, data, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		data += written;
		size -= (size_t)written;
	}
	return 0;
}

// Locked until it is closed, so that records of several processes do not mix.
static int open_control(void)
{
	int fd = open(CONTROL_PORT, O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int setup(void)
{
	for (size_t i = 1; i < sizeof(ports) / sizeof(ports[0]); i++) {
		struct termios settings;
		int fd = open(ports[i], O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

		if (fd < 0 || tcgetattr(fd, &settings) != 0)
			return trouble(ports[i]);
		cfmakeraw(&settings);
		settings.c_cflag |= CLOCAL;
		if (tcsetattr(fd, TCSANOW, &settings) != 0)
			return trouble(ports[i]);
		close(fd);
	}
	return 0;
}

static int send(const char *head, const char *body, size_t size)
{
	int fd = open_control();

	if (fd < 0 || write_all(fd, head, strlen(head)) != 0 || write_all(fd, body, size) != 0)
		return trouble(CONTROL_PORT);
	close(fd);
	return 0;
}

static int say(int count, char **words)
{
	char head[4096] = "\001mpsvm";
	size_t length = strlen(head);

	for (int i = 0; i < count; i++) {
		int added = snprintf(head + length, sizeof(head) - length, " %s", words[i]);

		if (added < 0 || length + (size_t)added >= sizeof(head) - 1) {
			errno = EMSGSIZE;
			return trouble("say");
		}
		length += (size_t)added;
	}
	for (size_t i = 1; i < length; i++)
		if (head[i] == '\n' || head[i] == '\001')
			head[i] = ' ';
	head[length] = '\n';
	head[length + 1] = '\0';
	return send(head, "", 0);
}

// The contents of an open file, which need not know its size. NULL on failure.
static char *slurp(int fd, size_t *size)
{
	size_t room = 1 << 16;
	char *data = malloc(room);

	*size = 0;
	while (data) {
		ssize_t got;

		// The kernel's log wants to give a whole entry at once.
		if (room - *size < 1 << 14) {
			char *more = realloc(data, room *= 2);

			if (!more)
				break;
			data = more;
		}
		got = read(fd, data + *size, room - *size);
		if (got > 0) {
			*size += (size_t)got;
			continue;
		}
		// EPIPE: entries were overwritten while we read; those numbers are missing, which the host
		// sees.
		if (got < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (got == 0 || errno == EAGAIN)
			return data;
		break;
	}
	free(data);
	return NULL;
}

static int send_contents(const char *path, int flags, const char *kind, const char *name)
{
	char head[512];
	size_t size;
	char *data;
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	int status;

	if (fd < 0)
		return trouble(path);
	data = slurp(fd, &size);
	close(fd);
	if (!data)
		return trouble(path);
	if (snprintf(head, sizeof(head), "\001mpsvm %s%s%s %zu\n", kind, *name ? " " : "", name, size) >=
	    (int)sizeof(head)) {
		errno = ENAMETOOLONG;
		return trouble(name);
	}
	status = send(head, data, size);
	free(data);
	return status;
}

static int put(const char *path, const char *name)
{
	if (!*name || strpbrk(name, " \n\001/")) {
		errno = EINVAL;
		return trouble(name);
	}
	return send_contents(path, 0, "file", name);
}

// Does not return. A byte still in a port when QEMU ends is lost.
static void end_vm(void)
{
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		int fd = open(ports[i], O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0) {
			tcdrain(fd);
			close(fd);
		}
	}
	end_qemu();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

int main(int count, char **words)
{
	const char *verb = count > 1 ? words[1] : "";

	if (getpid() == 1 && !*verb)
		end_vm();
	if (!strcmp(verb, "setup") && count == 2)
		return setup();
	if (!strcmp(verb, "say") && count > 2)
		return say(count - 2, words + 2);
	if (!strcmp(verb, "put") && (count == 3 || count == 4))
		return put(words[2], count == 4 ? words[3] : basename(words[2]));
	if (!strcmp(verb, "kmsg") && count == 2)
		return send_contents("/dev/kmsg", O_NONBLOCK, "kmsg", "");
	if (!strcmp(verb, "exit") && count == 2)
		end_vm();
	fprintf(stderr, "usage: vmctl setup | say WORD... | put FILE [NAME] | kmsg | exit\n");
	return 2;
}
