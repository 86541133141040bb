// A device in the memory of the host, to PyTorch a backend like any other: what runs on it takes the way of a GPU's kernels.
//
// Two devices; streams of which work is done at once; a stream can be told that it records a graph; an assert of a kernel
// (tests/cuda/shim) stays until somebody synchronises, as a GPU's do.
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr c10::DeviceIndex kCount = 2;

thread_local c10::DeviceIndex current = 0;
thread_local c10::StreamId current_stream[kCount] = {0, 0};
bool capturing = false;
long long synchronisations = 0;
long long allocated = 0;
long long launches[8] = {};
long long products_of_halves = 0;
std::string assertion;

void free_memory(void* memory) { std::free(memory); }

// Filled with what is no number, so that nobody reads what was not written.
c10::DataPtr allocate_on(c10::Device device, size_t bytes) {
    void* const memory = std::aligned_alloc(512, (bytes + 511) / 512 * 512 + 512);
    std::memset(memory, 0xA5, bytes);
    allocated += static_cast<long long>(bytes);
    return {memory, memory, &free_memory, device};
}

struct DeviceAllocator final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) override { return allocate_on({kType, current}, bytes); }
    c10::DeleterFnPtr raw_deleter() const override { return &free_memory; }
    void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
DeviceAllocator device_allocator;
REGISTER_ALLOCATOR(kType, &device_allocator)

struct PinnedAllocator final : c10::Allocator {
    c10::DataPtr allocate(size_t bytes) override { return allocate_on(c10::DeviceType::CPU, bytes); }
    c10::DeleterFnPtr raw_deleter() const override { return &free_memory; }
    void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
PinnedAllocator pinned_allocator;

void synchronise() {
    ++synchronisations;
    TORCH_CHECK(assertion.empty(), "device-side assert triggered: ", assertion);
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
    Guard() = default;
    explicit Guard(c10::DeviceType) {}
    c10::DeviceType type() const override { return kType; }
    c10::Device exchangeDevice(c10::Device device) const override {
        const c10::Device before = getDevice();
        current = device.index();
        return before;
    }
    c10::Device getDevice() const override { return {kType, current}; }
    void setDevice(c10::Device device) const override { current = device.index(); }
    void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
    c10::Stream getStream(c10::Device device) const override {
        const c10::DeviceIndex index = device.has_index() ? device.index() : current;
        return c10::Stream(c10::Stream::UNSAFE, {kType, index}, current_stream[index]);
    }
    c10::Stream getDefaultStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
    c10::Stream exchangeStream(c10::Stream stream) const override {
        const c10::Stream before = getStream(stream.device());
        current_stream[stream.device_index()] = stream.id();
        return before;
    }
    void* getStreamNativeHandle(const c10::Stream stream) const override {
        return reinterpret_cast<void*>(static_cast<intptr_t>(stream.id()));
    }
    c10::DeviceIndex deviceCount() const noexcept override { return kCount; }
    bool queryStream(const c10::Stream&) const override { return true; }
    void synchronizeStream(const c10::Stream&) const override { synchronise(); }
    bool isStreamCapturing(const c10::Stream&) const override { return capturing; }
    void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    void synchronizeEvent(void*) const override { synchronise(); }
    void synchronizeDevice(const c10::DeviceIndex) const override { synchronise(); }
    void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
    void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : at::PrivateUse1HooksInterface {
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
    c10::DeviceIndex deviceCount() const override { return kCount; }
    c10::DeviceIndex getCurrentDevice() const override { return current; }
    void setCurrentDevice(c10::DeviceIndex device) const override { current = device; }
    c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override { return std::exchange(current, device); }
    c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override { return exchangeDevice(device); }
    at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
};

c10::DispatchKeySet keys() { return c10::DispatchKeySet(c10::DispatchKey::PrivateUse1); }

at::Tensor empty(
    c10::SymIntArrayRef size,
    std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>,
    std::optional<c10::Device> device,
    std::optional<bool>,
    std::optional<at::MemoryFormat> format) {
    const c10::OptionalDeviceGuard guard(device.has_value() && device->has_index() ? device : std::nullopt);
    return at::detail::empty_generic(
        C10_AS_INTARRAYREF_SLOW(size), &device_allocator, keys(), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(
    c10::SymIntArrayRef size,
    c10::SymIntArrayRef stride,
    std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>,
    std::optional<c10::Device> device,
    std::optional<bool>) {
    const c10::OptionalDeviceGuard guard(device.has_value() && device->has_index() ? device : std::nullopt);
    return at::detail::empty_strided_generic(
        C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), &device_allocator, keys(),
        c10::dtype_or_default(dtype));
}

// The same memory, as a tensor of the CPU.
at::Tensor on_cpu(const at::Tensor& tensor) {
    return tensor.is_cpu() ? tensor
                           : at::from_blob(
                                 tensor.mutable_data_ptr(), tensor.sizes(), tensor.strides(),
                                 at::TensorOptions().dtype(tensor.dtype()).device(c10::kCPU));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
    if (to.is_cpu()) {
        synchronise();
    }
    on_cpu(to).copy_(on_cpu(from));
    return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
    const_cast<at::Tensor&>(to).resize_(from.sizes());
    return copy_from(from, to, false);
}

at::Tensor& zero(at::Tensor& tensor) {
    on_cpu(tensor).zero_();
    return tensor;
}

at::Scalar local_scalar(const at::Tensor& tensor) {
    synchronise();
    return on_cpu(tensor).item();
}

// Everything else is what the CPU does with the same memory; what it gives anew is copied.
void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const at::AutoDispatchBelowAutograd below;
    const size_t count = op.schema().arguments().size();
    c10::Device device(kType, current);
    std::map<const void*, at::Tensor> originals;
    const auto alias = [&](const at::Tensor& tensor) {
        if (!tensor.defined() || tensor.is_cpu()) {
            return tensor;
        }
        device = tensor.device();
        at::Tensor here = on_cpu(tensor);
        originals[here.unsafeGetTensorImpl()] = tensor;
        return here;
    };
    for (auto value = stack->end() - static_cast<std::ptrdiff_t>(count); value != stack->end(); ++value) {
        if (value->isTensor()) {
            *value = alias(value->toTensor());
        } else if (value->isTensorList()) {
            c10::List<at::Tensor> all;
            for (const at::Tensor& tensor : value->toTensorVector()) {
                all.push_back(alias(tensor));
            }
            *value = std::move(all);
        } else if (value->isDevice()) {
            device = value->toDevice();
            *value = c10::Device(c10::kCPU);
        }
    }
    op.callBoxed(stack);
    for (auto value = stack->end() - static_cast<std::ptrdiff_t>(op.schema().returns().size()); value != stack->end(); ++value) {
        if (!value->isTensor() || !value->toTensor().defined()) {
            continue;
        }
        const at::Tensor made = value->toTensor();
        const auto original = originals.find(made.unsafeGetTensorImpl());
        if (original != originals.end()) {
            *value = original->second;
            continue;
        }
        const at::Tensor placed = at::empty_strided(made.sizes(), made.strides(), made.options().device(device));
        on_cpu(placed).copy_(made);
        *value = placed;
    }
}

// As CUDA has it: operators on none of autocast's lists go on as they are.
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) { library.fallback(torch::CppFunction::makeFallthrough()); }

// And that of matrices is one of those that compute in less.
at::Tensor matmul_in_less(const at::Tensor& a, const at::Tensor& b) {
    const c10::impl::ExcludeDispatchKeyGuard once(c10::DispatchKey::AutocastPrivateUse1);
    return at::matmul(a.to(at::kBFloat16), b.to(at::kBFloat16));
}
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) { m.impl("matmul", matmul_in_less); }

at::Tensor mm_to(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
    ++products_of_halves;
    return at::mm(a.to(dtype), b.to(dtype));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
    m.impl("mm.dtype", mm_to);
    m.impl("empty.memory_format", empty);
    m.impl("empty_strided", empty_strided);
    m.impl("as_strided", at::native::as_strided_tensorimpl);
    m.impl("view", at::native::view);
    m.impl("_copy_from", copy_from);
    m.impl("_copy_from_and_resize", copy_from_and_resize);
    m.impl("zero_", zero);
    m.impl("_local_scalar_dense", local_scalar);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

}  // namespace

// What the shim tells its driver.
extern "C" void shim_device_assert(const char* message, const char* file, int line) {
    assertion = std::string(file) + ":" + std::to_string(line) + ": " + message;
}
extern "C" void shim_launched(void* stream) { ++launches[reinterpret_cast<intptr_t>(stream) % 8]; }

// What tests ask and tell.
extern "C" void pretend_install() { at::RegisterPrivateUse1HooksInterface(new Hooks()); }
extern "C" void pretend_capture(int on) { capturing = on != 0; }
extern "C" void pretend_stream(int device, int stream) { current_stream[device] = stream; }
extern "C" void pretend_device(int device) { current = static_cast<c10::DeviceIndex>(device); }
extern "C" long long pretend_synchronisations() { return synchronisations; }
extern "C" long long pretend_allocated() { return allocated; }
extern "C" long long pretend_products_of_halves() { return products_of_halves; }
extern "C" long long pretend_launches(int stream) { return launches[stream]; }
extern "C" void pretend_reset() { assertion.clear(); }
