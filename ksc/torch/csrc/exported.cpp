#include "exported.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include <ks/cpu.h>

#include "operator.h"

namespace ksc {

// Exported kernels have no callbacks.
decltype(ks_runtime::callback) const kCallback = nullptr;

namespace {

std::string& failure() {
    static auto* const text = new std::string();
    return *text;
}

// The folder of this library, with a slash at its end.
std::string own_folder() {
    Dl_info info;
    if (dladdr(reinterpret_cast<const void*>(&library_failure), &info) == 0 || info.dli_fname == nullptr) {
        return "";
    }
    const std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/') + 1);
}

// The kernels for the best instruction set that there is, or nullptr. Opening a file of kernels runs none of its code.
void* open_kernels(const ExportedLibrary& library) {
    std::string reasons;
    for (const char* const level : library.levels) {
        const std::string path = own_folder() + "lib" + library.name + "." + level + ".so";
        void* const kernels = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (kernels == nullptr) {
            const char* const reason = dlerror();
            reasons += std::string("; ") + (reason != nullptr ? reason : path.c_str());
            continue;
        }
        const std::string symbol = std::string("ks_") + library.name + "_required";
        const auto* const required = static_cast<const uint64_t*>(dlsym(kernels, symbol.c_str()));
        const char* const missing = required != nullptr ? ks::missing_feature(*required) : "what it says of itself";
        if (missing == nullptr) {
            return kernels;
        }
        reasons += std::string("; those for ") + level + " need " + missing;
        dlclose(kernels);
    }
    failure() = std::string("the kernels of ") + library.name + " cannot run on this processor" + reasons;
    return nullptr;
}

class ExportedHost final : public KernelHost {
  public:
    ExportedHost(std::string name, const ExportedFamily& family, void* kernels)
        : name_(std::move(name)), file_(family.file), kernels_(kernels) {
        for (const ExportedEntry& entry : family.entries) {
            symbols_[entry.derivation][entry.dtype] = entry.symbol;
        }
    }

    void* load(const std::string& derivation, at::ScalarType dtype, c10::DeviceType device, bool) override {
        TORCH_CHECK_NOT_IMPLEMENTED(
            device == c10::DeviceType::CPU, name_, " was exported for the CPU, and is called with tensors on ", device);
        TORCH_CHECK(kernels_ != nullptr, failure());
        static const std::map<at::ScalarType, const char*> names{
            {at::kFloat, "float32"}, {at::kDouble, "float64"}, {at::kHalf, "float16"}, {at::kBFloat16, "bfloat16"}};
        const auto dtypes = symbols_.find(derivation);
        TORCH_CHECK_NOT_IMPLEMENTED(
            dtypes != symbols_.end(), name_, " was exported without the derivative ", derivation,
            "; export it again with derivations=[..., '", derivation, "']");
        const auto symbol = dtypes->second.find(names.at(dtype));
        TORCH_CHECK_NOT_IMPLEMENTED(
            symbol != dtypes->second.end(), name_, " was exported without ", names.at(dtype),
            "; export it again with dtypes=[..., torch.", names.at(dtype), "]");
        void* const entry = dlsym(kernels_, symbol->second);
        TORCH_CHECK(entry != nullptr, name_, ": the file of kernels has no ", symbol->second);
        return entry;
    }

    [[noreturn]] void raise(int code, int line, const std::string& message) override {
        const std::string code_text = std::to_string(code);
        const std::string place = line > 0 ? file_ + ":" + std::to_string(line) + ": " : file_ + ": ";
        TORCH_CHECK(false, place, "[KS7", code < 10 ? "0" : "", code_text, "] ", message);
    }

  private:
    std::string name_;
    std::string file_;
    void* kernels_;
    std::map<std::string, std::map<std::string, const char*>> symbols_;
};

std::vector<Slot> slots(const std::vector<ExportedSlot>& given) {
    std::vector<Slot> found;
    for (const ExportedSlot& slot : given) {
        const Kind kind = slot.kind == 'f' ? Kind::Float : slot.kind == 'i' ? Kind::Integer : Kind::Bool;
        found.push_back({slot.name, kind, slot.sizes, static_cast<size_t>(slot.lanes), slot.is_number});
    }
    return found;
}

std::optional<ShapeTable> table(const std::optional<ExportedShapes>& given) {
    if (!given.has_value()) {
        return std::nullopt;
    }
    ShapeTable found{{}, given->results, given->lines};
    for (const std::vector<int64_t>& op : given->ops) {
        found.ops.push_back({static_cast<SizeCode>(op.at(0)), op.at(1), op.at(2), op.at(3)});
    }
    return found;
}

// The letters of a derivation, each with its seeds.
void declare_derivation(Operator& primal, const std::string& derivation) {
    Operator* op = &primal;
    for (size_t i = 0; i < derivation.size();) {
        const char letter = derivation[i++];
        std::vector<bool> seeds;
        for (; i < derivation.size() && (derivation[i] == '0' || derivation[i] == '1'); ++i) {
            seeds.push_back(derivation[i] == '1');
        }
        op = seeds.empty() ? &op->derived(letter) : &op->derived(letter, seeds);
    }
}

}  // namespace

int register_library(const ExportedLibrary& library) {
    for (const ExportedFamily& family : library.families) {
        const std::string name = std::string(library.name) + "::" + family.name;
        if (c10::Dispatcher::singleton().findSchema({name, ""}).has_value()) {
            failure() = "the operator " + name + " is registered already, by another library of that name";
            return 1;
        }
    }
    void* const kernels = open_kernels(library);
    for (const ExportedFamily& family : library.families) {
        const std::string name = std::string(library.name) + "::" + family.name;
        Family& declared = declare_family(
            library.name, family.name, {slots(family.args), slots(family.results)}, table(family.shapes), true,
            std::make_unique<ExportedHost>(name, family, kernels));
        for (const ExportedEntry& entry : family.entries) {
            declare_derivation(declared.primal(), entry.derivation);
        }
    }
    return 0;
}

const char* library_failure() { return failure().empty() ? nullptr : failure().c_str(); }

}  // namespace ksc
