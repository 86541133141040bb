#include "operator.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include <ATen/core/function_schema.h>
#include <ATen/core/enum_tag.h>
#include <torch/library.h>

#include "autograd.h"
#include "batching.h"
#include "cut.h"
#include "elementwise.h"
#include "meta.h"
#include "tensors.h"

namespace ksc {
namespace {

// A boxed kernel that knows its operator.
using BoxedKernel = void (*)(Operator&, c10::DispatchKeySet, torch::jit::Stack*);

class BoundKernel final : public c10::OperatorKernel {
  public:
    BoundKernel(Operator& op, BoxedKernel kernel) : op_(op), kernel_(kernel) {}
    void operator()(const c10::OperatorHandle&, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
        kernel_(op_, keys, stack);
    }

  private:
    Operator& op_;
    BoxedKernel kernel_;
};

torch::CppFunction bind(Operator& op, BoxedKernel kernel) {
    return torch::CppFunction::makeFromBoxedFunctor(std::make_unique<BoundKernel>(op, kernel));
}

// Never destroyed: at the end of the process the dispatcher may be gone before.
torch::Library& library(const std::string& space) {
    static auto* const fragments = new std::map<std::string, std::unique_ptr<torch::Library>>();
    static auto* const mutex = new std::mutex();
    const std::lock_guard<std::mutex> lock(*mutex);
    std::unique_ptr<torch::Library>& fragment = (*fragments)[space];
    if (fragment == nullptr) {
        fragment =
            std::make_unique<torch::Library>(torch::Library::FRAGMENT, space, std::nullopt, __FILE__, __LINE__);
    }
    return *fragment;
}

std::vector<size_t> floats(const std::vector<Slot>& slots) {
    std::vector<size_t> found;
    for (size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].kind == Kind::Float) {
            found.push_back(i);
        }
    }
    return found;
}

std::vector<c10::Argument> schema_arguments(const std::vector<Slot>& slots, bool named) {
    std::vector<c10::Argument> arguments;
    for (const Slot& slot : slots) {
        const std::string name = named ? slot.name : "";
        if (!slot.is_number) {
            arguments.emplace_back(name, c10::TensorType::get());
        } else if (slot.kind == Kind::Bool) {
            arguments.emplace_back(name, c10::BoolType::get());
        } else {
            arguments.emplace_back(name, c10::IntType::get(), c10::SymIntType::get(), std::nullopt, std::nullopt);
        }
    }
    return arguments;
}

Slot with_lanes(Slot slot) {
    slot.sizes.insert(slot.sizes.begin(), -1);
    ++slot.lanes;
    return slot;
}

// The signature of vmap over these arguments.
Signature map_over(const Operator& op, const std::vector<bool>& mapped) {
    Signature signature;
    for (size_t i = 0; i < mapped.size(); ++i) {
        signature.args.push_back(mapped[i] ? with_lanes(op.args()[i]) : op.args()[i]);
    }
    for (const Slot& result : op.results()) {
        signature.results.push_back(with_lanes(result));
    }
    return signature;
}

// The signature of one more derivation: docs/design/0001 states the order.
Signature derive(const Operator& op, char letter, const std::vector<bool>& seeds) {
    if (letter == 'm') {
        return map_over(op, seeds);
    }
    Signature signature{op.args(), {}};
    std::set<std::string> taken;
    for (const Slot& arg : op.args()) {
        taken.insert(arg.name);
    }
    const auto& seeded = letter == 'j' ? op.float_args() : op.float_results();
    const auto& seeded_slots = letter == 'j' ? op.args() : op.results();
    const auto& given = letter == 'j' ? op.float_results() : op.float_args();
    const auto& given_slots = letter == 'j' ? op.results() : op.args();
    const char* const suffix = letter == 'j' ? "_dot" : "_bar";
    const size_t handed = letter == 'r' ? seeded.size() : 0;
    for (size_t k = 0; k < seeds.size(); ++k) {
        if (!seeds[k]) {
            continue;
        }
        const size_t i = k < handed ? k : k - handed;
        std::string name = seeded_slots[seeded[i]].name + (k < handed ? "" : suffix);
        while (!taken.insert(name).second) {
            name += '_';
        }
        Slot seed = seeded_slots[seeded[i]];
        seed.name = name;
        signature.args.push_back(std::move(seed));
    }
    if (letter == 'b') {
        signature.results = op.results();
    }
    for (const size_t i : given) {
        Slot result = given_slots[i];
        result.name += suffix;
        signature.results.push_back(std::move(result));
    }
    return signature;
}

// What the host says, kept for the rest of the process. Python's lock is not waited for with one of ours held: two threads may
// ask, and one of the answers is kept.
template <class T, class Ask>
const T& asked_once(std::atomic<const T*>& place, Ask ask) {
    const T* known = place.load(std::memory_order_acquire);
    if (known == nullptr) {
        auto found = std::make_unique<const T>(ask());
        if (place.compare_exchange_strong(known, found.get(), std::memory_order_acq_rel)) {
            known = found.release();
        }
    }
    return *known;
}

std::map<std::string, std::unique_ptr<Family>>& families() {
    static auto* const all = new std::map<std::string, std::unique_ptr<Family>>();
    return *all;
}

std::mutex& families_mutex() {
    static auto* const mutex = new std::mutex();
    return *mutex;
}

}  // namespace

Operator::Operator(
    Family& family,
    std::string derivation,
    Signature signature,
    const Operator* from,
    char letter,
    std::vector<bool> seeds)
    : family_(family),
      derivation_(std::move(derivation)),
      signature_(std::move(signature)),
      from_(from),
      letter_(letter),
      seeds_(std::move(seeds)),
      float_args_(floats(signature_.args)),
      float_results_(floats(signature_.results)) {}

std::string Operator::qualified_name() const {
    return family_.space() + "::" + family_.name() + (derivation_.empty() ? "" : "." + derivation_);
}

Operator& Operator::derived(char letter) {
    auto& known = derived_[letter == 'v' ? 0 : letter == 'j' ? 1 : letter == 'b' ? 2 : letter == 'm' ? 3 : 4];
    if (Operator* op = known.load(std::memory_order_acquire)) {
        return *op;
    }
    Operator& op = family_.find_or_declare(*this, letter, std::vector<bool>(seed_count(letter), true));
    known.store(&op, std::memory_order_release);
    return op;
}

size_t Operator::seed_count(char letter) const {
    switch (letter) {
        case 'm': return args().size();
        case 'j': return float_args_.size();
        case 'r': return 2 * float_results_.size();
        default: return float_results_.size();
    }
}

Operator& Operator::derived(char letter, const std::vector<bool>& seeds) {
    TORCH_CHECK_VALUE(
        seeds.size() == seed_count(letter), qualified_name(), ": the derivation ", letter, " has other seeds");
    for (const bool seed : seeds) {
        if (!seed) {
            return family_.find_or_declare(*this, letter, seeds);
        }
    }
    return derived(letter);
}

void Operator::define() {
    const std::string name = family_.space() + "::" + family_.name();
    c10::FunctionSchema schema(
        name, derivation_, schema_arguments(args(), true), schema_arguments(results(), false));
    schema.setAliasAnalysis(c10::AliasAnalysisKind::FROM_SCHEMA);
    torch::Library& fragment = library(family_.space());
    fragment.def(std::move(schema), {at::Tag::pt2_compliant_tag});
    const std::string qualified = qualified_name();
    const char* const target = qualified.c_str();
    const bool tensors = family_.takes_tensors();
    fragment.impl(target, c10::DispatchKey::CPU, bind(*this, tensors ? tensor_kernel : elementwise_kernel));
    for (const c10::DispatchKey key : kAccelerators) {
        fragment.impl(target, key, bind(*this, tensors ? tensor_kernel : elementwise_kernel));
    }
    fragment.impl(target, c10::DispatchKey::Meta, bind(*this, tensors ? tensor_meta_kernel : meta_kernel));
    fragment.impl(target, c10::DispatchKey::Autograd, bind(*this, autograd_kernel));
    fragment.impl(
        target, c10::DispatchKey::FuncTorchBatched, bind(*this, tensors ? tensor_batching_kernel : batching_kernel));
    const auto is_number = [](const Slot& slot) { return slot.is_number; };
    if (std::all_of(args().begin(), args().end(), is_number)) {
        // As with torch.zeros, no argument says on which backend.
        fragment.impl(target, c10::DispatchKey::BackendSelect, bind(*this, tensor_kernel));
    }
    handle_ = c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), derivation_.c_str());
}

void* Operator::load(at::ScalarType dtype, c10::DeviceType device, bool wide) {
    void* const entry = family_.host().load(derivation_, dtype, device, wide);
    instances_[instance_index(dtype, device, wide)].store(entry, std::memory_order_release);
    return entry;
}

const Cut* Operator::cut() {
    return asked_once(cut_, [&] { return family_.host().cut(derivation_); }).get();
}

const std::vector<void*>& Operator::parts(at::ScalarType dtype, c10::DeviceType device, bool wide) {
    return asked_once(parts_[instance_index(dtype, device, wide)], [&] {
        return family_.host().load_parts(derivation_, dtype, device, wide);
    });
}

void Operator::raise(const Call& call) const {
    if (call.exception()) {
        std::rethrow_exception(call.exception());
    }
    family_.host().raise(call.code(), call.line(), call.message());
    // GCC takes a virtual function at no word that it does not return.
    std::abort();
}

Family::Family(
    std::string space,
    std::string name,
    Signature signature,
    std::optional<ShapeTable> shapes,
    bool partial_seeds,
    std::unique_ptr<KernelHost> host)
    : space_(std::move(space)),
      name_(std::move(name)),
      shapes_(std::move(shapes)),
      partial_seeds_(partial_seeds),
      host_(std::move(host)) {
    primal_ = &declare("", std::move(signature), nullptr, '\0', {});
}

Operator& Family::declare(
    const std::string& derivation,
    Signature signature,
    const Operator* from,
    char letter,
    const std::vector<bool>& seeds) {
    auto op = std::make_unique<Operator>(*this, derivation, std::move(signature), from, letter, seeds);
    if (derivation.empty() || derivation.back() != 'b') {
        op->define();
    }
    return *(operators_[derivation] = std::move(op));
}

Operator& Family::find_or_declare(const Operator& from, char letter, const std::vector<bool>& seeds) {
    std::string derivation = from.derivation() + letter;
    bool all = true;
    for (const bool seed : seeds) {
        all &= seed;
    }
    if (!all) {
        for (const bool seed : seeds) {
            derivation += seed ? '1' : '0';
        }
    }
    Operator* op = nullptr;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = operators_.find(derivation);
        if (found != operators_.end()) {
            return *found->second;
        }
        op = &declare(derivation, derive(from, letter, seeds), &from, letter, seeds);
    }
    // Python's lock is not waited for with ours held.
    if (letter != 'b') {
        host_->declared(derivation);
    }
    return *op;
}

const std::vector<bool>& Family::handed_results() {
    const auto& handed = asked_once(handed_, [&] { return host_->handed_results(); });
    TORCH_INTERNAL_ASSERT(handed.empty() || handed.size() == primal_->float_results().size());
    return handed;
}

Family* find_family(const std::string& name) {
    const std::lock_guard<std::mutex> lock(families_mutex());
    const auto found = families().find(std::string(kNamespace) + "::" + name);
    return found == families().end() ? nullptr : found->second.get();
}

Family& declare_family(
    std::string space,
    std::string name,
    Signature signature,
    std::optional<ShapeTable> shapes,
    bool partial_seeds,
    std::unique_ptr<KernelHost> host) {
    const std::string qualified = space + "::" + name;
    const std::lock_guard<std::mutex> lock(families_mutex());
    TORCH_CHECK_TYPE(families().count(qualified) == 0, "the operator ", qualified, " is declared already");
    auto family = std::make_unique<Family>(
        std::move(space), std::move(name), std::move(signature), std::move(shapes), partial_seeds, std::move(host));
    return *(families()[qualified] = std::move(family));
}

}  // namespace ksc
