// Aligned arrays that are never cleared. Large ones are kept between calls, within a bound, so that their pages stay mapped:
// on a first touch a page costs more than the transform of what is in it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hyena {

constexpr size_t HUGE_PAGE = size_t(1) << 21;
constexpr size_t KEPT_FROM = size_t(1) << 15;    // bytes of a block that is worth keeping
constexpr size_t KEPT_BYTES = size_t(1) << 27;   // of all blocks that are kept

// Asks the system for huge pages where memory is large: a first touch then costs a fifth, and columns megabytes apart need few
// entries of the TLB. Memory that was touched before stays as it is.
inline void advise(void* p, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 4096, begin = (reinterpret_cast<uintptr_t>(p) + page - 1) & ~(page - 1);
    const uintptr_t end = (reinterpret_cast<uintptr_t>(p) + bytes) & ~(page - 1);
    if (bytes >= HUGE_PAGE && end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

struct Block {
    void* data;
    size_t bytes;
};

class Kept {
   public:
    static Kept& instance() {
        static Kept* kept = new Kept;  // never destroyed: threads may outlive static objects
        return *kept;
    }
    Block take(size_t bytes) {
        if (bytes >= KEPT_FROM) {
            std::lock_guard<std::mutex> lock(mutex_);
            for (size_t i = blocks_.size(); i-- > 0;)
                if (blocks_[i].bytes >= bytes && blocks_[i].bytes <= 2 * bytes) {
                    Block found = blocks_[i];
                    blocks_.erase(blocks_.begin() + std::ptrdiff_t(i));
                    total_ -= found.bytes;
                    return found;
                }
        }
        size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 128;
        size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        void* p = nullptr;
        if (rounded < bytes || posix_memalign(&p, alignment, rounded ? rounded : alignment) != 0) throw std::bad_alloc();
        advise(p, rounded);
        return {p, rounded};
    }
    void give(Block block) {
        if (block.bytes >= KEPT_FROM) {
            std::lock_guard<std::mutex> lock(mutex_);
            if (total_ + block.bytes <= KEPT_BYTES) {
                blocks_.push_back(block);
                total_ += block.bytes;
                return;
            }
        }
        std::free(block.data);
    }

   private:
    Kept() { blocks_.reserve(KEPT_BYTES / KEPT_FROM); }  // so that `give`, which destructors call, never allocates

    std::mutex mutex_;
    std::vector<Block> blocks_;
    size_t total_ = 0;
};

template <class E>
class Array {
   public:
    Array() = default;
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() {
        if (block_.data) Kept::instance().give(block_);
    }
    // Room for n elements of undefined content; called once.
    void resize(size_t n) {
        if (n > size_t(PTRDIFF_MAX) / sizeof(E)) throw std::bad_alloc();
        block_ = Kept::instance().take(n * sizeof(E));
    }
    E* data() { return static_cast<E*>(block_.data); }
    const E* data() const { return static_cast<const E*>(block_.data); }
    E& operator[](size_t i) { return data()[i]; }
    const E& operator[](size_t i) const { return data()[i]; }

   private:
    Block block_{nullptr, 0};
};

}  // namespace hyena
