// What a loop keeps of its iterations for later.
#ifndef KS_TAPE_H
#define KS_TAPE_H

#include <cstdint>

#include "ks/tensor.h"

namespace ks {

// One value per iteration of a loop that does not know how often it will run.
template <class T> class tape : public tensor<T, 1> {
  public:
    explicit tape(runtime &rt) : rt_(rt) {}

    void push(const T &value) {
        if (this->size[0] == capacity_) {
            grow();
        }
        this->data[this->size[0]++] = value;
    }

  private:
    __attribute__((noinline)) void grow() {
        const int64_t more = capacity_ == 0 ? 64 : 2 * capacity_;
        T *const larger = rt_.template alloc<T>(more);
        for (int64_t i = 0; i < this->size[0]; ++i) {
            larger[i] = this->data[i];
        }
        this->data = larger;
        capacity_ = more;
    }

    runtime &rt_;
    int64_t capacity_ = 0;
};

// One tensor per iteration of a counted loop, all of the size of the first to come.
template <class T, int rank> class stack : public tensor<T, rank + 1> {
  public:
    explicit stack(int64_t count) { this->size[0] = count > 0 ? count : 0; }

    void put(runtime &rt, int64_t i, const tensor<T, rank> &value, int line) {
        if (this->data == nullptr) {
            int64_t sizes[rank + 1] = {this->size[0]};
            for (int k = 0; k < rank; ++k) {
                sizes[k + 1] = value.size[k];
            }
            static_cast<tensor<T, rank + 1> &>(*this) = tensor<T, rank + 1>::like(rt, sizes);
        }
        ks::put(rt, this->part(i), value, line);
    }
};

}  // namespace ks

#endif
