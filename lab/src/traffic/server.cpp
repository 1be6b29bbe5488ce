// SPDX-License-Identifier: MIT
#include <mpsched/lab/transfer.hpp>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "acceptor.hpp"
#include "base/try.hpp"
#include "frames.hpp"
#include "requests.hpp"

namespace mps::lab {

using namespace traffic;

struct Server::Impl {
    ServerSpec spec;
    std::uint16_t port = 0;
    std::atomic<bool> stopping{false};
    std::atomic<std::size_t> active{0};
    mutable std::mutex mutex;
    mutable std::condition_variable one_more; ///< of `finished`
    std::vector<ServedConnection> finished;
    Acceptor acceptor;

    ~Impl() {
        stopping = true;
        acceptor.stop();
    }

    Result<void> listen(const Namespace &ns) {
        auto fd = ns.run([&] {
            return listen_on(
                spec.family, spec.port,
                {.protocol = spec.protocol, .congestion_control = ns.socket_congestion_control()});
        });
        MPS_TRY(fd);
        port = port_of(fd->get(), ::getsockname);
        acceptor.start(std::move(*fd),
                       [this](int client, const SocketAddress &peer) { serve(client, peer.text()); });
        return {};
    }

    void serve(int fd, std::string peer) {
        ++active;
        ServedConnection served;
        served.peer = std::move(peer);
        Stream stream(fd, spec.stall_timeout, stopping);
        if (auto done = serve_stream(stream, served); !done) {
            served.error = done.error();
        }
        const auto sample = sample_connection(fd);
        served.fallback = sample && sample->fallback;
        {
            std::lock_guard lock(mutex);
            finished.push_back(std::move(served));
        }
        one_more.notify_all();
        --active;
    }

    Result<void> serve_stream(Stream &stream, ServedConnection &served) {
        auto hello = stream.receive_value<Hello>();
        MPS_TRY(hello);
        if (hello->magic != hello_magic) {
            return fail("a connection did not start with our greeting", "", EBADMSG);
        }
        const bool verify = hello->verify != 0;
        std::atomic<std::uint64_t> progress{0};
        switch (hello->mode) {
        case Mode::upload: {
            auto received = receive_contents(stream, hello->seed, verify, progress);
            served.bytes = progress;
            MPS_TRY(received);
            served.verified = received->verified;
            return stream.send_value(Verdict{
                .magic = verdict_magic,
                .same = received->complete && (received->verified || !verify) ? 1U : 0U,
                .bytes = received->bytes,
                .wrong_bytes = received->wrong_bytes,
                .first_wrong = received->first_wrong,
            });
        }
        case Mode::download: {
            auto sent = send_contents(
                stream, hello->seed, verify, hello->bytes, [&] { return stream.peer_finished(); }, progress);
            served.bytes = progress;
            return sent ? Result<void>{} : Result<void>(std::unexpected(sent.error()));
        }
        case Mode::requests:
            return serve_requests(stream, *hello, served);
        }
        return fail("a connection asks for a mode that does not exist", "", EBADMSG);
    }
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::Server(Server &&) noexcept = default;
Server &Server::operator=(Server &&) noexcept = default;
Server::~Server() = default;

Result<Server> Server::start(const Namespace &ns, ServerSpec spec) {
    auto impl = std::make_unique<Impl>();
    impl->spec = spec;
    if (auto listening = impl->listen(ns); !listening) {
        return std::unexpected(listening.error());
    }
    return Server(std::move(impl));
}

std::uint16_t Server::port() const { return impl_->port; }

std::size_t Server::active() const { return impl_->active; }

std::vector<ServedConnection> Server::finished(std::size_t count) const {
    std::unique_lock lock(impl_->mutex);
    impl_->one_more.wait_for(lock, std::chrono::seconds(10), [&] { return impl_->finished.size() >= count; });
    return impl_->finished;
}

} // namespace mps::lab
