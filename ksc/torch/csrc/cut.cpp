#include "cut.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <ks/cuda/device.h>
#include <ks/sizes.h>

#include "device.h"
#include "operator.h"

namespace ksc {
namespace {

// Multiplications for each product from which on the library is worth two more launches (docs/design/0020): in float32 it computes
// as tiles do, else with tensor cores.
constexpr double least_multiplications(at::ScalarType dtype) { return dtype == at::kFloat ? double{1 << 29} : double{1 << 27}; }
// What has fewer elements in arguments and results is not asked about: no such product is in it, as a rule.
constexpr int64_t kLeastElements = 1 << 16;

enum class Products : uint8_t { BySize, Grid, Library };

Products chosen() {
    const char* const value = std::getenv("KSC_CUDA_PRODUCTS");
    const std::string_view asked = value != nullptr ? value : "";
    TORCH_CHECK_VALUE(
        asked.empty() || asked == "grid" || asked == "library", "KSC_CUDA_PRODUCTS is ", asked,
        ", and not grid, library or empty");
    return asked.empty() ? Products::BySize : asked == "grid" ? Products::Grid : Products::Library;
}

int64_t count(c10::ArrayRef<Dims<int64_t>> all) {
    int64_t elements = 0;
    for (const Dims<int64_t>& sizes : all) {
        int64_t product = 1;
        for (const int64_t size : sizes) {
            product *= size;
        }
        elements += product;
    }
    return elements;
}

// The multiplications of a product, where its operands have the sizes that its result says.
std::optional<double> multiplications(const CutProduct& product, c10::ArrayRef<Dims<int64_t>> sizes) {
    const Dims<int64_t>& result = sizes[product.result];
    const size_t batch = result.size() - 2;
    int64_t depths[2] = {};
    bool agree = true;
    for (const bool is_left : {true, false}) {
        const CutMatrix& matrix = is_left ? product.left : product.right;
        const Dims<int64_t>& own = sizes[matrix.value];
        for (size_t d = 0; d < matrix.batch.size(); ++d) {
            agree = agree && own[d] == result[matrix.batch[d]];
        }
        const bool depth_last = is_left != matrix.transposed;
        depths[is_left ? 0 : 1] = own[own.size() - (depth_last ? 1 : 2)];
        agree = agree && own[own.size() - (depth_last ? 2 : 1)] == result[batch + (is_left ? 0 : 1)];
    }
    if (!agree || depths[0] != depths[1]) {
        return std::nullopt;
    }
    double all = static_cast<double>(depths[0]);
    for (const int64_t size : result) {
        all *= static_cast<double>(size);
    }
    return all;
}

// With the leading dimensions of the product, those that it does not have being of size 1; none where it has none.
at::Tensor lined_up(const at::Tensor& tensor, const CutMatrix& matrix, size_t batch) {
    at::Tensor found = matrix.transposed ? tensor.transpose(-2, -1) : tensor;
    if (matrix.batch.empty()) {
        return found;
    }
    const auto own = static_cast<int64_t>(matrix.batch.size());
    std::vector<int64_t> order;
    std::vector<int64_t> absent;
    for (size_t b = 0; b < batch; ++b) {
        const auto place = std::find(matrix.batch.begin(), matrix.batch.end(), b);
        if (place != matrix.batch.end()) {
            order.push_back(place - matrix.batch.begin());
        } else {
            absent.push_back(static_cast<int64_t>(b));
        }
    }
    order.insert(order.end(), {own, own + 1});
    found = found.permute(order);
    for (const int64_t b : absent) {
        found = found.unsqueeze(b);
    }
    return found;
}

// The product of two matrices of half precision, added up and given in float32; nothing where PyTorch has none.
std::optional<at::Tensor> product_of_halves(const at::Tensor& left, const at::Tensor& right) {
    if (left.dim() != 2 || right.dim() != 2) {
        return std::nullopt;
    }
    static const auto op = c10::Dispatcher::singleton().findSchema({"aten::mm", "dtype"});
    const c10::DispatchKey backend = left.key_set().highestBackendKey() == c10::BackendComponent::CUDABit
                                         ? c10::DispatchKey::CUDA
                                         : c10::DispatchKey::PrivateUse1;
    if (!op.has_value() || !op->hasKernelForDispatchKey(backend)) {
        return std::nullopt;
    }
    return op->typed<at::Tensor(const at::Tensor&, const at::Tensor&, at::ScalarType)>().call(left, right, at::kFloat);
}

class Steps {
  public:
    Steps(Operator& op, const Cut& cut, c10::Device device, const Tensors& args, const Number* numbers, at::ScalarType dtype)
        : op_(op), cut_(cut), device_(device), args_(args.size()), computed_(is_half(dtype) ? at::kFloat : dtype), dtype_(dtype) {
        values_.resize(args.size() + cut.kinds.size());
        for (size_t i = 0; i < args.size(); ++i) {
            values_[i] = args[i].defined() ? args[i] : placed(*numbers++, dtype_of(op.args()[i].kind, dtype));
        }
    }

    Tensors run(c10::ArrayRef<Dims<int64_t>> sizes) {
        for (size_t k = 0; k < cut_.steps.size(); ++k) {
            if (const auto* const product = std::get_if<CutProduct>(&cut_.steps[k])) {
                multiply(*product, sizes[product->result].size() - 2);
            } else {
                launch(std::get<CutKernel>(cut_.steps[k]), sizes);
            }
            for (const size_t value : cut_.spent[k]) {
                values_[value].reset();
            }
        }
        Tensors results;
        for (size_t r = 0; r < cut_.results.size(); ++r) {
            results.push_back(values_[cut_.results[r]].to(dtype_of(op_.results()[r].kind, dtype_)).contiguous());
        }
        return results;
    }

  private:
    static at::Tensor placed(const Number& number, at::ScalarType dtype) {
        const at::Tensor tensor = at::empty({}, at::TensorOptions().dtype(dtype));
        std::memcpy(tensor.mutable_data_ptr(), number.bytes, tensor.element_size());
        return tensor;
    }

    Kind kind(size_t value) const { return value < args_ ? op_.args()[value].kind : cut_.kinds[value - args_]; }

    // A value as kernels read it: those for half precision store float32 between them.
    const at::Tensor& computed(size_t value) {
        if (kind(value) == Kind::Float && values_[value].scalar_type() != computed_) {
            values_[value] = values_[value].to(computed_);
        }
        return values_[value];
    }

    void multiply(const CutProduct& product, size_t batch) {
        std::optional<at::Tensor> made;
        const at::Tensor &left = values_[product.left.value], &right = values_[product.right.value];
        if (is_half(left.scalar_type()) && left.scalar_type() == right.scalar_type()) {
            made = product_of_halves(lined_up(left, product.left, batch), lined_up(right, product.right, batch));
        }
        if (!made.has_value()) {
            const at::Tensor first = computed(product.left.value), second = computed(product.right.value);
            made = at::matmul(lined_up(first, product.left, batch), lined_up(second, product.right, batch));
        }
        values_[product.result] = made->contiguous();
    }

    void launch(const CutKernel& kernel, c10::ArrayRef<Dims<int64_t>> sizes) {
        std::vector<LaunchArgument> args;
        // What were numbers are tensors by now.
        const Number* numbers = nullptr;
        for (const CutArgument& arg : kernel.args) {
            if (arg.dim < 0) {
                args.push_back(launch_argument(computed(arg.value), kind(arg.value), numbers));
            } else {
                args.push_back({nullptr, sizes[arg.value][static_cast<size_t>(arg.dim)], Kind::Integer});
            }
        }
        Tensors results;
        for (const size_t value : kernel.results) {
            const auto dtype = dtype_of(kind(value), computed_);
            values_[value] = at::empty(sizes[value], at::TensorOptions().dtype(dtype).device(device_));
            results.push_back(values_[value]);
        }
        const auto kernels = [&](bool wide) {
            return static_cast<const ks_cuda_kernel*>(op_.parts(computed_, device_.type(), wide)[kernel.part]);
        };
        launch_kernel(op_, kernels, device_, results, args, {static_cast<int64_t>(computed_), 1 + static_cast<int64_t>(kernel.part)});
    }

    Operator& op_;
    const Cut& cut_;
    c10::Device device_;
    size_t args_;
    at::ScalarType computed_, dtype_;
    std::vector<at::Tensor> values_;
};

}  // namespace

void find_spent(Cut& cut) {
    std::set<size_t> read(cut.results.begin(), cut.results.end());
    cut.spent.assign(cut.steps.size(), {});
    for (size_t k = cut.steps.size(); k-- > 0;) {
        std::vector<size_t> own;
        if (const auto* const product = std::get_if<CutProduct>(&cut.steps[k])) {
            own = {product->left.value, product->right.value};
        } else {
            for (const CutArgument& arg : std::get<CutKernel>(cut.steps[k]).args) {
                if (arg.dim < 0) {
                    own.push_back(arg.value);
                }
            }
        }
        for (const size_t value : own) {
            if (read.insert(value).second) {
                cut.spent[k].push_back(value);
            }
        }
    }
}

std::optional<Tensors> run_cut(
    Operator& op,
    c10::Device device,
    const Tensors& args,
    const Number* numbers,
    const ShapeArgs<int64_t>& shape,
    const AllDims<int64_t>& results,
    at::ScalarType dtype) {
    const Products products = chosen();
    if (products == Products::Grid || at::globalContext().deterministicAlgorithms() ||
        (products == Products::BySize && count(shape.sizes) + count(results) < kLeastElements)) {
        return std::nullopt;
    }
    const Cut* const cut = op.cut();
    if (cut == nullptr) {
        return std::nullopt;
    }
    // The kernel says what is wrong, with the line.
    constexpr auto refused = std::nullopt;
    AllDims<int64_t> sizes = shape.sizes;
    try {
        AllDims<int64_t> made = table_sizes(cut->made, shape);
        for (size_t k = 0; k < made.size(); ++k) {
            if (k < cut->kinds.size()) {
                sizes.push_back(std::move(made[k]));
            } else if (made[k].front() == 0) {
                return refused;
            }
        }
    } catch (const ks::size_failure&) {
        return refused;
    }
    double total = 0, least = 0;
    for (const CutStep& step : cut->steps) {
        if (const auto* const product = std::get_if<CutProduct>(&step)) {
            const std::optional<double> own = multiplications(*product, sizes);
            if (!own.has_value()) {
                return refused;
            }
            total += *own;
            least += least_multiplications(dtype);
        }
    }
    if (products == Products::BySize && total < least) {
        return std::nullopt;
    }
    // What a user's modes and autocast do to calls of PyTorch's was done to the call of the operator.
    const at::AutoDispatchBelowADInplaceOrView below;
    const c10::impl::ExcludeDispatchKeyGuard plain(c10::autocast_dispatch_keyset | c10::python_ks);
    return Steps(op, *cut, device, args, numbers, dtype).run(sizes);
}

}  // namespace ksc
