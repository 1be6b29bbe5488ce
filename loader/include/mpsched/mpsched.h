/* SPDX-License-Identifier: MIT */
/*
 * libmpsched for C and for whatever can call C. The same as instance.hpp, flat: every call answers with a JSON document, the
 * one that the command of that name prints with --json=2 (docs/mpsched.schema.json).
 *
 *   mpsched *m;
 *   char *answer;
 *   if (mpsched_open("client", &m, &answer) == 0) {
 *           mpsched_connections(m, 0, &answer);
 *           puts(answer);
 *           mpsched_free(answer);
 *           mpsched_close(m);
 *   }
 *
 * All calls return 0, or the exit code that the command would have had: 1 failed, 2 usage, 3 unsupported, 4 not permitted.
 * Then the answer is {"version": 2, "error": {"what", "hint", "code", "kind"}}; decide by the kind. An answer belongs to the
 * caller, who gives it to mpsched_free(); NULL for `answer` drops it. Lists of texts end with NULL; NULL for a list is an
 * empty one. One thread at a time per handle.
 */
#ifndef MPSCHED_H
#define MPSCHED_H

#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mpsched mpsched;

/* Of the library that is loaded, "0.1.0". */
MPS_API const char *mpsched_version(void);
MPS_API void mpsched_free(char *answer);

/* `netns`: a name below /run/netns, a path or a process id; NULL: the calling thread's. Answers {"version": 2}. */
MPS_API int mpsched_open(const char *netns, mpsched **out, char **answer);
/* NULL is fine. Changes nothing in the kernel. */
MPS_API void mpsched_close(mpsched *m);

/* ---- reading */
MPS_API int mpsched_status(mpsched *m, char **answer);
/* `sample_ms`: looks twice, with so much between, and tells what was acknowledged meanwhile; 0: once. */
MPS_API int mpsched_connections(mpsched *m, unsigned sample_ms, char **answer);
MPS_API int mpsched_policies(mpsched *m, char **answer);
MPS_API int mpsched_stats(mpsched *m, char **answer);

/* ---- changing */
/* `policy` NULL: auto where nothing was attached yet, else it stays as it is. */
MPS_API int mpsched_attach(mpsched *m, const char *const *interfaces, const char *policy, char **answer);
/* `role`: "host", as above, or "gateway" (connections of other hosts that pass; docs/gateway.md). NULL: host. */
MPS_API int mpsched_attach_as(mpsched *m, const char *const *interfaces, const char *role, const char *policy,
                              char **answer);
/* No interfaces: all, and everything that is installed. */
MPS_API int mpsched_detach(mpsched *m, const char *const *interfaces, char **answer);
/* `settings` are "key=value", `selector` as --for has it or NULL for all connections. */
MPS_API int mpsched_use(mpsched *m, const char *policy, const char *selector, const char *const *settings,
                        char **answer);
/* `selector` NULL: all rules. */
MPS_API int mpsched_unuse(mpsched *m, const char *selector, char **answer);
/* `policy` NULL: the default policy's parameters. */
MPS_API int mpsched_set(mpsched *m, const char *policy, const char *const *settings, char **answer);
/* No settings: only tells. */
MPS_API int mpsched_path(mpsched *m, const char *interface, const char *const *settings, char **answer);

/* ---- being told */
/* From now on mpsched_changes() tells what has changed since it was called last. `fd`, which stays the library's, is readable
 * once in `interval_ms`, when it is time to look. Answers {"version": 2}. */
MPS_API int mpsched_watch(mpsched *m, unsigned interval_ms, int *fd, char **answer);
/* {"version": 2, "changes": [{"kind", "token", "subflow", "interface", "now"}]}. Never waits. */
MPS_API int mpsched_changes(mpsched *m, char **answer);

#ifdef __cplusplus
}
#endif

#endif
