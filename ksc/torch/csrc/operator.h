// A declared function and the dispatcher operators of its derivations.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/ScalarType.h>
#include <ks/runtime.h>

#include "device_memory.h"
#include "host.h"
#include "runtime.h"
#include "shapes.h"

namespace ksc {

enum class Kind : uint8_t { Float, Integer, Bool };

struct Slot {
    std::string name;
    Kind kind;
    // Of a tensor kernel: the sizes, -1 where any fits; how many of the dimensions are mapped, so that they do not count
    // in promotion; and whether the schema has a number in the place of a tensor, since sizes depend on it.
    std::vector<int64_t> sizes;
    size_t lanes = 0;
    bool is_number = false;
};

struct Signature {
    std::vector<Slot> args;
    std::vector<Slot> results;
};

// The storage dtypes a Float can have; their position is the index into an instance table.
inline constexpr std::array<at::ScalarType, 4> kFloatDtypes{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16};

// The backends that kernels for GPUs run on. A process in which another backend of PyTorch's takes the place of CUDA says
// where its kernels come from (ksc/torch/devices.py); else they are refused there.
inline constexpr std::array<c10::DispatchKey, 2> kAccelerators{c10::DispatchKey::CUDA, c10::DispatchKey::PrivateUse1};

// The position of `dtype` in kFloatDtypes, or -1.
inline int float_dtype_index(at::ScalarType dtype) {
    switch (dtype) {
        case at::kFloat: return 0;
        case at::kDouble: return 1;
        case at::kHalf: return 2;
        case at::kBFloat16: return 3;
        default: return -1;
    }
}

inline bool is_half(at::ScalarType dtype) { return dtype == at::kHalf || dtype == at::kBFloat16; }

class Family;

// One derivation of a declared function: a dispatcher operator (but for the fused value and vjp, which only the fast
// path calls) and its table of compiled instances, one per dtype.
class Operator {
  public:
    // `from` is what it is derived from by the last letter, nullptr for the primal.
    Operator(
        Family& family,
        std::string derivation,
        Signature signature,
        const Operator* from,
        char letter,
        std::vector<bool> seeds);
    Operator(const Operator&) = delete;
    Operator& operator=(const Operator&) = delete;

    Family& family() const { return family_; }
    const std::string& derivation() const { return derivation_; }
    const Operator* from() const { return from_; }
    char letter() const { return letter_; }
    const std::vector<bool>& seeds() const { return seeds_; }
    const std::vector<Slot>& args() const { return signature_.args; }
    const std::vector<Slot>& results() const { return signature_.results; }
    const std::vector<size_t>& float_args() const { return float_args_; }
    const std::vector<size_t>& float_results() const { return float_results_; }
    const c10::OperatorHandle& handle() const { return *handle_; }
    std::string qualified_name() const;

    // Whether it is the function itself, mapped or not.
    bool is_primal() const { return from_ == nullptr || (letter_ == 'm' && from_->is_primal()); }

    // The derivation with one more letter; declared when first asked for.
    Operator& derived(char letter);

    // The same where only some seeds (cotangents of the float results for 'v', tangents of the float arguments for 'j')
    // are not known to be zero: the operator takes those alone. The letter is followed by a digit for each seed. For 'm',
    // which maps over a new first dimension, the digits say which arguments have it. 'r' is a 'v' that takes float results
    // before the cotangents: a digit for each of these results, and then one for each cotangent.
    Operator& derived(char letter, const std::vector<bool>& seeds);

    // The compiled entry for a dtype of kFloatDtypes on a kind of device; compiled through the family's loader when first
    // asked for. On an accelerator one that is `wide` takes tensors of any size.
    template <class Entry>
    Entry instance(at::ScalarType dtype, c10::DeviceType device = c10::DeviceType::CPU, bool wide = false) {
        void* const entry = instances_[instance_index(dtype, device, wide)].load(std::memory_order_acquire);
        return reinterpret_cast<Entry>(entry != nullptr ? entry : load(dtype, device, wide));
    }

    // Cut at its products of matrices; nullptr where it stays whole. The host is asked once.
    const Cut* cut();

    // The kernels of the cut, each a ks_cuda_kernel; compiled when first asked for.
    const std::vector<void*>& parts(at::ScalarType dtype, c10::DeviceType device, bool wide);

    // What launches on accelerators were seen to need.
    KnownScratch& scratch() { return scratch_; }

    // Raises the error of a call that failed.
    [[noreturn]] void raise(const Call& call) const;

    void define();

  private:
    static constexpr size_t kInstances = (1 + 2 * kAccelerators.size()) * kFloatDtypes.size();
    static size_t instance_index(at::ScalarType dtype, c10::DeviceType device, bool wide) {
        const size_t kind = device == c10::DeviceType::CPU ? 0 : device == c10::DeviceType::CUDA ? 1 : 2;
        const size_t place = kind + (wide ? kAccelerators.size() : 0);
        return place * kFloatDtypes.size() + static_cast<size_t>(float_dtype_index(dtype));
    }
    void* load(at::ScalarType dtype, c10::DeviceType device, bool wide);
    size_t seed_count(char letter) const;

    Family& family_;
    std::string derivation_;
    Signature signature_;
    const Operator* from_;
    char letter_;
    std::vector<bool> seeds_;
    std::vector<size_t> float_args_;
    std::vector<size_t> float_results_;
    std::optional<c10::OperatorHandle> handle_;
    std::array<std::atomic<void*>, kInstances> instances_{};
    KnownScratch scratch_;
    std::atomic<const std::shared_ptr<const Cut>*> cut_{nullptr};
    std::array<std::atomic<const std::vector<void*>*>, kInstances> parts_{};
    std::array<std::atomic<Operator*>, 5> derived_{};  // v, j, b, m, r
};

// A declared function, with all its derivations. Lives until the process ends, as operators do.
class Family {
  public:
    // The operators are called `space`::`name`. `partial_seeds` says that the host knows derivations in which some seeds
    // are zero; else zeros are handed to the kernel. A tensor kernel has `shapes`, an elementwise one has none.
    Family(
        std::string space,
        std::string name,
        Signature signature,
        std::optional<ShapeTable> shapes,
        bool partial_seeds,
        std::unique_ptr<KernelHost> host);

    const std::string& space() const { return space_; }
    const std::string& name() const { return name_; }
    bool partial_seeds() const { return partial_seeds_; }
    bool takes_tensors() const { return shapes_.has_value(); }
    const ShapeTable& shapes() const { return *shapes_; }
    Operator& primal() const { return *primal_; }
    KernelHost& host() const { return *host_; }

    // What the host says of them, asked for once.
    const std::vector<bool>& handed_results();

    Operator& find_or_declare(const Operator& from, char letter, const std::vector<bool>& seeds);

  private:
    Operator& declare(
        const std::string& derivation,
        Signature signature,
        const Operator* from,
        char letter,
        const std::vector<bool>& seeds);

    std::string space_;
    std::string name_;
    std::optional<ShapeTable> shapes_;
    bool partial_seeds_;
    std::unique_ptr<KernelHost> host_;
    std::atomic<const std::vector<bool>*> handed_{nullptr};
    std::mutex mutex_;
    std::map<std::string, std::unique_ptr<Operator>> operators_;
    Operator* primal_;
};

// Where functions are declared from Python.
inline constexpr char kNamespace[] = "knossos";

// The family of that name there, or nullptr.
Family* find_family(const std::string& name);

// Raises a TypeError where the name is taken.
Family& declare_family(
    std::string space,
    std::string name,
    Signature signature,
    std::optional<ShapeTable> shapes,
    bool partial_seeds,
    std::unique_ptr<KernelHost> host);

}  // namespace ksc
