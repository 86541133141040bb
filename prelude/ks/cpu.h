// Which instructions a file was compiled to use beyond those that every processor of its kind has, and which of them this
// processor lacks. Not included by kernels.
//
//     extern "C" const uint64_t required = ks::compiled_features;   // in a file compiled with the flags of the kernels
//     if (const char *name = ks::missing_feature(required)) { … }   // in one compiled without
//
// KS_CPU_WITHOUT=avx2,avx512f in the environment makes a processor seem to lack these. It cannot add any.
#ifndef KS_CPU_H
#define KS_CPU_H

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace ks {

// X(name, macro that says that it is compiled in, cpuid leaf, register 0 to 3 for a to d, bit, the state that the
// operating system has to save: 0, 6 for AVX, 0xe6 for AVX-512)
#define KS_X86_FEATURES(X)                       \
    X("sse3", __SSE3__, 1, 2, 0, 0)              \
    X("ssse3", __SSSE3__, 1, 2, 9, 0)            \
    X("sse4.1", __SSE4_1__, 1, 2, 19, 0)         \
    X("sse4.2", __SSE4_2__, 1, 2, 20, 0)         \
    X("popcnt", __POPCNT__, 1, 2, 23, 0)         \
    X("movbe", __MOVBE__, 1, 2, 22, 0)           \
    X("fma", __FMA__, 1, 2, 12, 6)               \
    X("f16c", __F16C__, 1, 2, 29, 6)             \
    X("avx", __AVX__, 1, 2, 28, 6)               \
    X("bmi", __BMI__, 7, 1, 3, 0)                \
    X("avx2", __AVX2__, 7, 1, 5, 6)              \
    X("bmi2", __BMI2__, 7, 1, 8, 0)              \
    X("avx512f", __AVX512F__, 7, 1, 16, 0xe6)    \
    X("avx512dq", __AVX512DQ__, 7, 1, 17, 0xe6)  \
    X("avx512ifma", __AVX512IFMA__, 7, 1, 21, 0xe6) \
    X("avx512cd", __AVX512CD__, 7, 1, 28, 0xe6)  \
    X("avx512bw", __AVX512BW__, 7, 1, 30, 0xe6)  \
    X("avx512vl", __AVX512VL__, 7, 1, 31, 0xe6)  \
    X("avx512vbmi", __AVX512VBMI__, 7, 2, 1, 0xe6) \
    X("avx512vbmi2", __AVX512VBMI2__, 7, 2, 6, 0xe6) \
    X("gfni", __GFNI__, 7, 2, 8, 0)              \
    X("vaes", __VAES__, 7, 2, 9, 6)              \
    X("vpclmulqdq", __VPCLMULQDQ__, 7, 2, 10, 6) \
    X("avx512vnni", __AVX512VNNI__, 7, 2, 11, 0xe6) \
    X("avx512bitalg", __AVX512BITALG__, 7, 2, 12, 0xe6) \
    X("avx512vpopcntdq", __AVX512VPOPCNTDQ__, 7, 2, 14, 0xe6) \
    X("avx512fp16", __AVX512FP16__, 7, 3, 23, 0xe6) \
    X("lzcnt", __LZCNT__, 0x80000001, 2, 5, 0)   \
    X("fma4", __FMA4__, 0x80000001, 2, 16, 6)    \
    X("xop", __XOP__, 0x80000001, 2, 11, 6)      \
    X("avx512bf16", __AVX512BF16__, 0x70001, 0, 5, 0xe6) \
    X("avxvnni", __AVXVNNI__, 0x70001, 0, 4, 6)

// X(name, macro, bit of the first word of hardware capabilities that Linux gives)
#define KS_ARM_FEATURES(X)                            \
    X("lse", __ARM_FEATURE_ATOMICS, 8)                \
    X("fp16", __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, 10) \
    X("dotprod", __ARM_FEATURE_DOTPROD, 20)           \
    X("sve", __ARM_FEATURE_SVE, 22)

// A macro that is defined expands to 1, or to nothing for some compilers; one that is not, to its name.
#define KS_TEXT(macro) KS_TEXT_OF(macro)
#define KS_TEXT_OF(macro) #macro
static constexpr bool is_defined(const char *text) { return text[0] != '_'; }

#if defined(__x86_64__) || defined(__i386__)
#define KS_FEATURES KS_X86_FEATURES
#define KS_COMPILED(name, macro, leaf, reg, bit, state) is_defined(KS_TEXT(macro)),
#else
#define KS_FEATURES KS_ARM_FEATURES
#define KS_COMPILED(name, macro, bit) is_defined(KS_TEXT(macro)),
#endif

static constexpr uint64_t features_of_this_file() {
    constexpr bool compiled[] = {KS_FEATURES(KS_COMPILED)};
    uint64_t found = 0;
    for (unsigned k = 0; k < sizeof compiled; ++k) {
        found |= uint64_t{compiled[k]} << k;
    }
    return found;
}

constexpr uint64_t compiled_features = features_of_this_file();

// Whether the environment says to do without it.
static inline bool is_taken_away(const char *name) {
    const char *const list = std::getenv("KS_CPU_WITHOUT");
    const size_t length = std::strlen(name);
    for (const char *at = list; at != nullptr && *at != '\0';) {
        const char *const end = std::strchr(at, ',');
        const size_t given = end != nullptr ? static_cast<size_t>(end - at) : std::strlen(at);
        if (given == length && std::strncmp(at, name, length) == 0) {
            return true;
        }
        at = end != nullptr ? end + 1 : nullptr;
    }
    return false;
}

#if defined(__x86_64__) || defined(__i386__)

struct cpuid_words {
    unsigned word[4] = {0, 0, 0, 0};
};

static inline cpuid_words cpuid(unsigned leaf, unsigned subleaf) {
    cpuid_words w;
    if (leaf <= static_cast<unsigned>(__get_cpuid_max(leaf & 0x80000000u, nullptr))) {
        __cpuid_count(leaf, subleaf, w.word[0], w.word[1], w.word[2], w.word[3]);
    }
    return w;
}

// The name of a feature among `required` that this processor, or its operating system, does not have; a null pointer
// where it has all.
static inline const char *missing_feature(uint64_t required) {
    struct feature {
        const char *name;
        unsigned leaf, reg, bit, state;
    };
#define KS_ROW(name, macro, leaf, reg, bit, state) {name, leaf, reg, bit, state},
    static const feature all[] = {KS_X86_FEATURES(KS_ROW)};
#undef KS_ROW
    unsigned saved = 0;
    if ((cpuid(1, 0).word[2] >> 27 & 1) != 0) {
        unsigned high = 0;
        // Volatile, or it may be moved to where processors without it meet it.
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    }
    for (unsigned k = 0; k < sizeof all / sizeof *all; ++k) {
        const feature &f = all[k];
        if ((required >> k & 1) == 0) {
            continue;
        }
        const cpuid_words words = f.leaf == 0x70001 ? cpuid(7, 1) : cpuid(f.leaf, 0);
        if ((words.word[f.reg] >> f.bit & 1) == 0 || (saved & f.state) != f.state || is_taken_away(f.name)) {
            return f.name;
        }
    }
    return nullptr;
}

#elif defined(__aarch64__) && defined(__linux__)

static inline const char *missing_feature(uint64_t required) {
    struct feature {
        const char *name;
        unsigned bit;
    };
#define KS_ROW(name, macro, bit) {name, bit},
    static const feature all[] = {KS_ARM_FEATURES(KS_ROW)};
#undef KS_ROW
    const uint64_t has = getauxval(AT_HWCAP);
    for (unsigned k = 0; k < sizeof all / sizeof *all; ++k) {
        if ((required >> k & 1) != 0 && ((has >> all[k].bit & 1) == 0 || is_taken_away(all[k].name))) {
            return all[k].name;
        }
    }
    return nullptr;
}

#else

// Nothing is known of what this processor has: a library for it is compiled for what all of its kind have.
static inline const char *missing_feature(uint64_t) { return nullptr; }

#endif

#undef KS_COMPILED
#undef KS_FEATURES

}  // namespace ks

#endif
