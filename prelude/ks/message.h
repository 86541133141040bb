// The text of an error, put together where the kernel stops.
#ifndef KS_MESSAGE_H
#define KS_MESSAGE_H

#include <cstddef>
#include <cstdint>

#include "ks/macros.h"

namespace ks {

// What does not fit is left out.
class error_text {
  public:
    KS_KERNEL_FN error_text &operator<<(const char *words) {
        while (*words != '\0' && end_ + 1 < sizeof text_) {
            text_[end_++] = *words++;
        }
        text_[end_] = '\0';
        return *this;
    }

    KS_KERNEL_FN error_text &operator<<(int64_t number) {
        char digits[21];
        char *first = digits + sizeof digits - 1;
        *first = '\0';
        uint64_t rest = number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
        do {
            *--first = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest != 0);
        if (number < 0) {
            *--first = '-';
        }
        return *this << first;
    }

    KS_KERNEL_FN const char *text() const { return text_; }

  private:
    char text_[240] = "";
    size_t end_ = 0;
};

// An index into a dimension, and how large that is.
struct place {
    int dim;
    int64_t index;
    int64_t size;
};

KS_KERNEL_FN bool outside(int64_t index, int64_t size) { return static_cast<uint64_t>(index) >= static_cast<uint64_t>(size); }

// Says of the first of some indices into a tensor that is out of range what it is, of which dimension and size.
KS_KERNEL_FN void say_index(error_text &words, const char *tensor, const place *wrong, const place *end) {
    while (wrong + 1 != end && !outside(wrong->index, wrong->size)) {
        ++wrong;
    }
    words << "index " << wrong->index << (wrong->index < 0 ? ", counted from the start," : "");
    words << " is out of range for dimension " << wrong->dim;
    if (*tensor != '\0') {
        words << " of " << tensor << ",";
    }
    words << " of size " << wrong->size;
}

}  // namespace ks

#endif
