// Functions of the host, called by name.
#ifndef KS_CALLBACK_H
#define KS_CALLBACK_H

#include <cstdint>
#include <initializer_list>

#include "ks/arena.h"
#include "ks/tensor.h"

namespace ks {

inline int kind_of(const float *) { return KS_FLOAT32; }
inline int kind_of(const double *) { return KS_FLOAT64; }
inline int kind_of(const int64_t *) { return KS_INT64; }
inline int kind_of(const bool *) { return KS_BOOL; }

// The ABI has one type for what is read and what is written.
template <class T> inline ks_value operand(const T &number) {
    return {kind_of(&number), 0, const_cast<T *>(&number), nullptr};
}

template <class T, int rank> inline ks_value operand(const tensor<T, rank> &value) {
    return {kind_of(value.data), rank, value.data, value.size};
}

inline void callback(
    runtime &rt, const char *name, std::initializer_list<ks_value> given, std::initializer_list<ks_value> places) {
    rt.callback(name, given.begin(), static_cast<int>(given.size()), places.begin(), static_cast<int>(places.size()));
}

}  // namespace ks

#endif
