#include "device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include <ATen/Context.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/FunctionRef.h>
#include <ks/cuda/device.h>

#include "compat.h"
#include "device_memory.h"

namespace ksc {
namespace {

constexpr size_t kPieceAlignment = 256;
// What is aligned to less, a kernel may copy.
constexpr size_t kLoadAlignment = 16;
constexpr size_t kFirstPerThread = 512;
// More than this is given only after a kernel has asked for it.
constexpr size_t kMostAtFirst = size_t{1} << 30;

// As with PyTorch's operators, each launch is waited for where the user asks for it, and errors are raised at the call.
bool waits_for_each() {
    static const bool asked = [] {
        const char* const value = std::getenv("CUDA_LAUNCH_BLOCKING");
        return value != nullptr && std::strcmp(value, "0") != 0 && *value != '\0';
    }();
    return asked;
}

size_t aligned(size_t bytes) { return (bytes + kPieceAlignment - 1) / kPieceAlignment * kPieceAlignment; }

// What an error of a grid was, after the report was cleared.
struct Failure {
    const Operator* owner;
    int code;
    int line;
    std::string message;
    Scratch wanted;
};

std::optional<Failure> failure_in(StreamMemory& memory) {
    ks_cuda_report* const report = memory.report();
    if (report == nullptr || *static_cast<volatile int*>(&report->failed) == 0) {
        return std::nullopt;
    }
    Failure failure{
        static_cast<const Operator*>(report->owner), report->failed, report->line, report->message,
        {report->scratch_wanted, report->scratch_wanted_per_thread}};
    memory.clear();
    return failure;
}

[[noreturn]] void raise(const Failure& failure, const Operator& op) {
    Call call;
    call.record(failure.code, failure.line, failure.message.c_str());
    (failure.owner != nullptr ? *failure.owner : op).raise(call);
}

[[noreturn]] void refuse(const Operator& op, const ks_cuda_kernel& kernel, int status) {
    TORCH_CHECK(
        status != KS_CUDA_RANK, op.qualified_name(), ": the arguments have more than ", KS_CUDA_MOST_DIMENSIONS,
        " dimensions that cannot be joined");
    TORCH_CHECK(false, op.qualified_name(), ": the launch failed: ", kernel.explain(status), " (", status, ")");
}

// What a launch of an operator is given; `like` is what tells launches apart that may need other amounts of memory.
struct Demand {
    size_t copies = 0;    // bytes of arguments that the kernel copies
    int64_t elements = 0; // of the largest operand
    // More than offsets of 32 bits reach.
    bool is_wide() const { return elements > std::numeric_limits<int32_t>::max(); }
    bool varying = false;
    KnownScratch::Key like;
};

using Launch = c10::function_ref<int(const ks_cuda&, void* entry)>;

class Launcher {
  public:
    Launcher(Operator& op, Kernels kernels, c10::Device device, Demand demand)
        : op_(op),
          kernels_(kernels),
          kernel_(kernels(demand.is_wide())),
          demand_(std::move(demand)),
          device_(device),
          stream_(c10::impl::VirtualGuardImpl(device.type()).getStream(device)),
          is_capturing_(ksc::is_capturing(stream_)) {
        given_.stream = native_handle(stream_);
        given_.owner = &op;
        given_.deterministic = at::globalContext().deterministicAlgorithms() ? 1 : 0;
    }

    void run(Launch launch) {
        if (kernel_->needs == 0) {
            const int status = launch(given_, kernel_->entry);
            if (status != 0) {
                refuse(op_, *kernel_, status);
            }
            return;
        }
        demand_.like.push_back(static_cast<int64_t>(device_.type()));
        demand_.like.push_back(device_.index());
        demand_.like.push_back(given_.deterministic);
        plan();
        std::optional<StreamMemory> own;
        if (is_capturing_) {
            own.emplace(device_, StreamMemory::report_of_graphs(device_));
        }
        StreamMemory& memory = own ? *own : StreamMemory::of(stream_);
        while (!try_once(memory, launch)) {
        }
    }

  private:
    bool allocates() const { return (kernel_->needs & KS_CUDA_MEMORY) != 0; }

    // Decides how much memory to give, and whether to wait and see whether it was enough.
    void plan() {
        scratch_ = {demand_.copies + StreamMemory::kScratchBytes, 0, demand_.is_wide()};
        if (!allocates()) {
            looks_ = waits_for_each() && !is_capturing_;
            return;
        }
        const bool known = op_.scratch().find(demand_.like, scratch_);
        kernel_ = kernels_(scratch_.is_wide);
        const bool varying = demand_.varying || (kernel_->needs & KS_CUDA_VARYING) != 0;
        TORCH_CHECK(
            known || !is_capturing_, op_.qualified_name(),
            ": how much memory this call takes is known after the first one of its kind only; run it once before a graph "
            "is captured");
        if (!known && (kernel_->needs & KS_CUDA_PRIVATE) != 0) {
            feed_threads(kFirstPerThread);
        }
        looks_ = !is_capturing_ && (!known || varying || waits_for_each());
    }

    // Gives each thread that has something to do so much memory.
    void feed_threads(size_t bytes) {
        scratch_.per_thread = bytes;
        const auto threads = static_cast<size_t>(std::min<int64_t>(kernel_->threads(), std::max<int64_t>(demand_.elements, 1)));
        scratch_.bytes = std::max(scratch_.bytes, demand_.copies + StreamMemory::kScratchBytes +
                                                      std::min(threads * bytes, std::max(kMostAtFirst, 1024 * bytes)));
    }

    // False where the kernel did not have enough memory, and more is to be given.
    bool try_once(StreamMemory& memory, Launch launch) {
        at::Tensor held;
        given_.state = memory.state();
        given_.report = memory.report();
        given_.scratch = memory.scratch();
        if (scratch_.bytes > StreamMemory::kScratchBytes) {
            const auto bytes = static_cast<int64_t>(scratch_.bytes);
            held = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(device_));
            given_.scratch = held.mutable_data_ptr();
        }
        given_.scratch_bytes = scratch_.bytes;
        given_.scratch_per_thread = scratch_.per_thread;
        given_.traps = looks_ ? 0 : 1;
        int status = 0;
        std::optional<Failure> failure;
        size_t wanted = 0;
        {
            const std::lock_guard<std::mutex> lock(memory.mutex);
            failure = failure_in(memory);
            if (!failure) {
                status = launch(given_, kernel_->entry);
                wanted = status == KS_CUDA_SCRATCH && given_.report != nullptr ? given_.report->scratch_wanted : 0;
                if (status == 0 && looks_) {
                    stream_.synchronize();
                    failure = failure_in(memory);
                }
            }
        }
        if (failure) {
            if (failure->owner == &op_ && failure->code == KS_ERROR_MEMORY && grow(failure->wanted)) {
                return false;
            }
            if (failure->owner == &op_ && failure->code == KS_ERROR_OFFSETS && !scratch_.is_wide) {
                scratch_.is_wide = true;
                kernel_ = kernels_(true);
                return false;
            }
            raise(*failure, op_);
        }
        if (status == KS_CUDA_SCRATCH) {
            scratch_.bytes = demand_.copies + std::max(aligned(wanted), 2 * scratch_.bytes);
            return false;
        }
        if (status != 0) {
            refuse(op_, *kernel_, status);
        }
        if (looks_ && allocates()) {
            op_.scratch().remember(demand_.like, scratch_);
        }
        return true;
    }

    // More than what was wanted: it is what the first allocation that failed would have taken.
    bool grow(const Scratch& wanted) {
        if (wanted.per_thread > 0) {
            feed_threads(aligned(std::max(wanted.per_thread, 2 * scratch_.per_thread)));
            return true;
        }
        if (wanted.bytes > 0) {
            scratch_.bytes = aligned(std::max(wanted.bytes + wanted.bytes / 2, 2 * scratch_.bytes));
            return true;
        }
        return false;
    }

    Operator& op_;
    Kernels kernels_;
    const ks_cuda_kernel* kernel_;
    Demand demand_;
    c10::Device device_;
    c10::Stream stream_;
    bool is_capturing_;
    bool looks_ = false;
    Scratch scratch_;
    ks_cuda given_{};
};

// The 8 bytes of an argument that the host knows: a number, or a tensor of the CPU without dimensions.
bool is_known(const at::Tensor& arg, const Number*& numbers, int64_t& bytes) {
    if (arg.defined() && !arg.is_cpu()) {
        return false;
    }
    bytes = 0;
    if (arg.defined()) {
        std::memcpy(&bytes, arg.const_data_ptr(), arg.element_size());
    } else {
        std::memcpy(&bytes, (numbers++)->bytes, sizeof bytes);
    }
    return true;
}

char* bytes_of(const at::Tensor& arg) {
    // A kernel only reads its arguments; the ABI has one type for all operands.
    return const_cast<char*>(static_cast<const char*>(arg.const_data_ptr()));
}

}  // namespace

std::optional<c10::Device> accelerator_of(const Operator& op, c10::ArrayRef<at::Tensor> args) {
    std::optional<c10::Device> found;
    for (const at::Tensor& arg : args) {
        if (arg.defined() && !arg.is_cpu()) {
            TORCH_CHECK(
                !found || *found == arg.device(), op.qualified_name(), ": the arguments are on ", *found, " and ",
                arg.device());
            found = arg.device();
        }
    }
    for (size_t i = 0; found && i < args.size(); ++i) {
        TORCH_CHECK(
            !args[i].defined() || !args[i].is_cpu() || args[i].dim() == 0, op.qualified_name(), ": the argument ",
            op.args()[i].name, " is on the CPU, others are on ", *found);
    }
    return found;
}

void launch_elementwise(
    Operator& op,
    c10::Device device,
    const Tensors& results,
    const Tensors& args,
    const Number* numbers,
    at::ScalarType dtype) {
    const auto* const kernel = op.instance<const ks_cuda_kernel*>(dtype, device.type());
    const size_t count = results.size() + args.size();
    c10::SmallVector<char*, 12> data(count, nullptr);
    c10::SmallVector<int64_t, 12> known(count, 0);
    // The iterator sees what is on the device; it joins dimensions, and puts those with small strides first.
    at::TensorIteratorConfig config;
    config.set_check_mem_overlap(false).check_all_same_dtype(false).resize_outputs(false);
    c10::SmallVector<size_t, 12> seen;
    for (size_t k = 0; k < count; ++k) {
        const bool result = k < results.size();
        const at::Tensor& operand = result ? results[k] : args[k - results.size()];
        if (!result && is_known(operand, numbers, known[k])) {
            continue;
        }
        data[k] = bytes_of(operand);
        seen.push_back(k);
        if (result) {
            config.add_output(operand);
        } else {
            config.add_const_input(operand);
        }
    }
    const auto iterator = config.build();
    const auto rank = static_cast<size_t>(iterator.ndim());
    c10::SmallVector<int64_t, 32> strides(count * std::max<size_t>(rank, 1), 0);
    for (size_t i = 0; i < seen.size(); ++i) {
        const c10::IntArrayRef own = iterator.strides(static_cast<int64_t>(i));
        std::copy(own.begin(), own.end(), strides.begin() + static_cast<std::ptrdiff_t>(seen[i] * rank));
    }
    Demand demand;
    demand.like.push_back(static_cast<int64_t>(dtype));
    demand.elements = iterator.numel();
    // Places are computed in as many bits as they take.
    const auto same = [&](bool) { return kernel; };
    Launcher(op, same, device, std::move(demand)).run([&](const ks_cuda& given, void* entry) {
        return reinterpret_cast<ks_cuda_elementwise_entry>(entry)(
            &given, data.data(), strides.data(), iterator.shape().data(), static_cast<int>(rank), known.data());
    });
}

LaunchArgument launch_argument(const at::Tensor& arg, Kind kind, const Number*& numbers) {
    LaunchArgument found{nullptr, 0, kind};
    if (!is_known(arg, numbers, found.known)) {
        found.tensor = &arg;
    }
    return found;
}

void launch_kernel(
    Operator& op,
    Kernels kernels,
    c10::Device device,
    const Tensors& results,
    c10::ArrayRef<LaunchArgument> args,
    KnownScratch::Key like) {
    c10::SmallVector<ks_tensor, 12> operands;
    Demand demand;
    demand.like = std::move(like);
    for (const at::Tensor& result : results) {
        operands.push_back({result.mutable_data_ptr(), result.sizes().data(), nullptr});
        demand.elements = std::max(demand.elements, result.numel());
    }
    for (const LaunchArgument& given : args) {
        if (given.tensor == nullptr) {
            operands.push_back({nullptr, &given.known, nullptr});
            if (given.kind != Kind::Float) {
                demand.like.push_back(given.known);
            }
            continue;
        }
        const at::Tensor& arg = *given.tensor;
        operands.push_back({bytes_of(arg), arg.sizes().data(), arg.strides().data()});
        demand.elements = std::max(demand.elements, arg.numel());
        // An int that the device alone knows may be a count.
        demand.varying = demand.varying || (given.kind != Kind::Float && arg.dim() == 0);
        const bool is_aligned = reinterpret_cast<uintptr_t>(arg.const_data_ptr()) % kLoadAlignment == 0;
        const bool in_place = arg.is_contiguous() && !is_half(arg.scalar_type()) && is_aligned;
        if (!in_place && arg.dim() > 0) {
            demand.copies += aligned(static_cast<size_t>(arg.numel()) * sizeof(double));
        }
        demand.like.insert(demand.like.end(), arg.sizes().begin(), arg.sizes().end());
        demand.like.push_back(in_place ? 1 : 0);
    }
    Launcher(op, kernels, device, std::move(demand)).run([&](const ks_cuda& given, void* entry) {
        return reinterpret_cast<ks_cuda_tensor_entry>(entry)(&given, operands.data());
    });
}

void launch_tensors(
    Operator& op,
    c10::Device device,
    const Tensors& results,
    const Tensors& args,
    const Number* numbers,
    at::ScalarType dtype) {
    c10::SmallVector<LaunchArgument, 12> all;
    for (size_t i = 0; i < args.size(); ++i) {
        all.push_back(launch_argument(args[i], op.args()[i].kind, numbers));
    }
    const auto kernels = [&](bool wide) { return op.instance<const ks_cuda_kernel*>(dtype, device.type(), wide); };
    launch_kernel(op, kernels, device, results, all, {static_cast<int64_t>(dtype), 0});
}

}  // namespace ksc
