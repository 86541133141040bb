// What loops keep of their iterations: the memory of these outlives the scratch memory of the iteration that asks for it.
#ifndef KS_TAPE_H
#define KS_TAPE_H

#include <cstdint>

#ifndef KS_CUDA
#include "ks/bulk.h"
#endif
#include "ks/tensor.h"

namespace ks {

// Memory that lives as long as whatever was made where this was made.
class lasting {
  public:
    KS_KERNEL_FN explicit lasting(runtime &rt) : rt_(rt), home_(rt.innermost()) {}

    template <class T> KS_KERNEL_FN T *alloc(int64_t count) const {
        rt_.keep_until(home_);
        return rt_.alloc<T>(count);
    }
    template <class T, int rank> KS_KERNEL_FN tensor<T, rank> like(const int64_t *sizes) const {
        rt_.keep_until(home_);
        return tensor<T, rank>::like(rt_, sizes);
    }
    KS_KERNEL_FN runtime &rt() const { return rt_; }

  private:
    runtime &rt_;
    const region *home_;
};

// One value, or one tensor of the sizes of the first, per iteration of a loop that does not know how often it will run.
template <class T, int rank = 0> class tape : public tensor<T, rank + 1> {
  public:
    KS_KERNEL_FN explicit tape(runtime &rt) : memory_(rt) {}

    KS_KERNEL_FN void push(const tensor<T, rank> &value, int line) {
        if (this->size[0] == 0) {
            for (int k = 0; k < rank; ++k) {
                this->size[k + 1] = value.size[k];
            }
        }
        const int64_t row = value.count();
        if (this->size[0] == capacity_) {
            grow(row);
        }
        put(memory_.rt(), this->part(this->size[0]), value, line);
        ++this->size[0];
    }

  private:
    KS_NOINLINE void grow(int64_t row) {
        const int64_t more = capacity_ == 0 ? 64 : 2 * capacity_;
        int64_t sizes[rank + 1] = {more};
        for (int k = 0; k < rank; ++k) {
            sizes[k + 1] = this->size[k + 1];
        }
        T *const larger = memory_.template like<T, rank + 1>(sizes).data;
        copy_elements(memory_.rt(), larger, this->data, this->size[0] * row);
        this->data = larger;
        capacity_ = more;
    }

    lasting memory_;
    int64_t capacity_ = 0;
};

template <class T> class tape<T, 0> : public tensor<T, 1> {
  public:
    KS_KERNEL_FN explicit tape(runtime &rt) : memory_(rt) {}

    KS_KERNEL_FN void push(const T &value) {
        if (this->size[0] == capacity_) {
            grow();
        }
        store(memory_.rt(), this->data[this->size[0]++], value);
    }

  private:
    KS_NOINLINE void grow() {
        const int64_t more = capacity_ == 0 ? 64 : 2 * capacity_;
        T *const larger = memory_.alloc<T>(more);
        copy_elements(memory_.rt(), larger, this->data, this->size[0]);
        this->data = larger;
        capacity_ = more;
    }

    lasting memory_;
    int64_t capacity_ = 0;
};

// The tensors that the iterations of counted loops give, all of the sizes of the first to come.
template <class T, int leading, int rank> class stack : public tensor<T, leading + rank> {
  public:
    template <class... Size> KS_KERNEL_FN explicit stack(runtime &rt, Size... sizes) : memory_(rt) {
        static_assert(sizeof...(Size) == leading, "one size per loop");
        int k = 0;
        ((this->size[k++] = sizes > 0 ? int64_t{sizes} : 0), ...);
    }

    template <class... Index> KS_KERNEL_FN void put(const tensor<T, rank> &value, int line, Index... indices) {
        if (this->data == nullptr) {
            allocate(value.size);
        }
        ks::put(memory_.rt(), this->part(indices...), value, line);
    }

  private:
    KS_NOINLINE void allocate(const int64_t *inner) {
        for (int k = 0; k < rank; ++k) {
            this->size[leading + k] = inner[k];
        }
        this->data = memory_.template like<T, leading + rank>(this->size).data;
    }

    lasting memory_;
};

// Tensors of the sizes of the first to come, combined element by element.
template <class T, int rank> class folded : public tensor<T, rank> {
  public:
    KS_KERNEL_FN explicit folded(runtime &rt) : memory_(rt) {}

    template <class Operation> KS_KERNEL_FN void combine(const tensor<T, rank> &value, int line, Operation operation) {
        if (this->data == nullptr) {
            static_cast<tensor<T, rank> &>(*this) = memory_.template like<T, rank>(value.size);
            ks::put(memory_.rt(), *this, value, line);
        } else {
            ks::combine(memory_.rt(), *this, value, line, operation);
        }
    }

  private:
    lasting memory_;
};

// A tensor that each iteration of a loop makes anew from the last one. Two pieces of memory take turns.
template <class T, int rank> class carried : public tensor<T, rank> {
  public:
    KS_KERNEL_FN carried(runtime &rt, const tensor<T, rank> &start) : tensor<T, rank>(start), memory_(rt) {}

    // A place to make what comes next, while the present one may still be read.
    template <class... Size> KS_KERNEL_FN tensor<T, rank> next(Size... sizes) {
        const int64_t size[rank] = {(sizes > 0 ? int64_t{sizes} : 0)...};
        return place(size);
    }

    // What comes next, unless it was made in its place.
    KS_KERNEL_FN void keep(const tensor<T, rank> &value) {
        if (spare_ == nullptr || value.data != spare_) {
            put(memory_.rt(), place(value.size), value, 0);
        }
        next_ = tensor<T, rank>::at(spare_, value.size);
    }

    // Goes on to what was kept.
    KS_KERNEL_FN void advance() {
        T *const free = own_;
        const int64_t room = room_;
        own_ = spare_;
        room_ = capacity_;
        spare_ = free;
        capacity_ = room;
        static_cast<tensor<T, rank> &>(*this) = next_;
    }

  private:
    KS_KERNEL_FN tensor<T, rank> place(const int64_t *sizes) {
        tensor<T, rank> there = tensor<T, rank>::at(spare_, sizes);
        if (spare_ == nullptr || capacity_ < there.count()) {
            there = memory_.template like<T, rank>(sizes);
            spare_ = there.data;
            capacity_ = there.count();
        }
        return there;
    }

    lasting memory_;
    tensor<T, rank> next_;
    T *own_ = nullptr;
    T *spare_ = nullptr;
    int64_t room_ = 0;
    int64_t capacity_ = 0;
};

}  // namespace ks

#endif
