// A second OpenMP runtime beside PyTorch's would keep its idle threads spinning on the cores that
// the other one works on. So nothing is linked here: where the process already has GNU OpenMP
// (PyTorch for Linux brings and exports it), its one entry point is looked up and used; elsewhere
// threads are started for the call.
#include "threads.h"

#include <dlfcn.h>

#include <atomic>
#include <thread>
#include <vector>

namespace qvlm {
namespace {

// GOMP_parallel(fn, data, threads, flags): what `#pragma omp parallel` compiles to.
using GompParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

GompParallel gomp() {
    static const auto found = reinterpret_cast<GompParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return found;
}

struct Region {
    std::atomic<int64_t> next{0};
    int64_t count;
    void (*task)(void*, int64_t);
    void* context;
};

void work(void* data) {
    auto& region = *static_cast<Region*>(data);
    for (int64_t i; (i = region.next.fetch_add(1, std::memory_order_relaxed)) < region.count;)
        region.task(region.context, i);
}

}  // namespace

void parallel(int threads, int64_t count, void (*task)(void*, int64_t), void* context) {
    Region region;
    region.count = count;
    region.task = task;
    region.context = context;
    if (threads > count) threads = static_cast<int>(count);
    if (threads <= 1) return work(&region);
    if (const GompParallel run = gomp()) return run(work, &region, threads, 0);
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(work, &region);
    work(&region);
    for (auto& other : others) other.join();
}

const char* thread_pool() { return gomp() ? "openmp" : "std::thread"; }

}  // namespace qvlm
