// What the registration file of an exported library says of its kernels: plain data, nothing of torch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ksc {

struct ExportedSlot {
    const char* name;
    char kind;  // 'f', 'i' or 'b'
    std::vector<int64_t> sizes;
    int lanes;
    bool is_number;
};

// The table of ksc/ir/sizes.py.
struct ExportedShapes {
    std::vector<std::vector<int64_t>> ops;
    std::vector<std::vector<size_t>> results;
    std::vector<std::vector<int>> lines;
};

struct ExportedEntry {
    const char* derivation;
    const char* dtype;
    const char* symbol;
};

struct ExportedFamily {
    const char* name;
    const char* file;  // of the user's function, for messages
    std::vector<ExportedSlot> args;
    std::vector<ExportedSlot> results;
    std::optional<ExportedShapes> shapes;
    std::vector<ExportedEntry> entries;
};

struct ExportedLibrary {
    const char* name;                  // also the namespace of the operators
    std::vector<const char*> levels;   // instruction sets, the best first; each has a file of kernels beside the library
    std::vector<ExportedFamily> families;
};

// Declares the operators, and opens the kernels for the best instruction set that this processor has.
int register_library(const ExportedLibrary& library);

// Why the kernels cannot be run here, or a null pointer where they can.
const char* library_failure();

}  // namespace ksc
