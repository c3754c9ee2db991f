// Work shared among threads: PyTorch's own OpenMP pool where it has one, so that no second pool spins against it, else
// threads of our own for the length of the call.
#pragma once
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <thread>
#include <vector>

namespace hyena {

// GOMP_parallel is the entry that compiled code calls; libgomp and LLVM's and Intel's libomp all have it.
using Pool = void (*)(void (*)(void*), void*, unsigned, unsigned);

inline std::atomic<bool>& in_child() {
    static std::atomic<bool> forked{false};
    return forked;
}
inline Pool pool() {
    // After a fork the pool's threads are gone and it would wait for them for ever.
    static const Pool found = reinterpret_cast<Pool>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return in_child() ? nullptr : found;
}
// From loading on, whoever used the pool before.
static const int watching_forks = pthread_atfork(nullptr, nullptr, [] { in_child() = true; });

// Calls work(item, worker) for each item 0 .. items - 1, each once, from up to `threads` threads; false where one ran out of
// memory. Which thread takes which item is not fixed: an item's result must not depend on it. `worker` counts the threads.
template <class Work>
bool parallel(int threads, i64 items, const Work& work) {
    struct Shared {
        const Work& work;
        i64 items;
        std::atomic<i64> next{0};
        std::atomic<int> workers{0};
        std::atomic<bool> failed{false};
        void run() {
            int worker = workers++;
            try {
                for (i64 i; !failed && (i = next++) < items;) work(i, worker);
            } catch (...) {
                failed = true;
            }
        }
    } shared{work, items};
    if (threads > items) threads = int(items);
    if (threads <= 1) {
        shared.run();
    } else if (Pool run = pool()) {
        run([](void* s) { static_cast<Shared*>(s)->run(); }, &shared, unsigned(threads), 0);
    } else {
        std::vector<std::thread> team;
        try {
            for (int i = 1; i < threads; i++) team.emplace_back([&] { shared.run(); });
        } catch (...) {  // no more threads to be had: those that run do the work
        }
        shared.run();
        for (std::thread& t : team) t.join();
    }
    return !shared.failed;
}

}  // namespace hyena
