// What -fsanitize=thread puts before each access, all of which are the shim's own `access`.
#ifndef KS_SHIM_ACCESSES_H
#define KS_SHIM_ACCESSES_H

#define KS_ACCESS(bytes)                                                                                 \
    extern "C" void __tsan_read##bytes(void *place) { access(place, bytes, Kind::read, true); }          \
    extern "C" void __tsan_write##bytes(void *place) { access(place, bytes, Kind::write, true); }        \
    extern "C" void __tsan_volatile_read##bytes(void *place) { access(place, bytes, Kind::read, true); } \
    extern "C" void __tsan_volatile_write##bytes(void *place) { access(place, bytes, Kind::write, true); }
KS_ACCESS(1)
KS_ACCESS(2)
KS_ACCESS(4)
KS_ACCESS(8)
KS_ACCESS(16)
#define KS_UNALIGNED(bytes)                                                                            \
    extern "C" void __tsan_unaligned_read##bytes(void *place) { access(place, bytes, Kind::read); }    \
    extern "C" void __tsan_unaligned_write##bytes(void *place) { access(place, bytes, Kind::write); }
KS_UNALIGNED(2)
KS_UNALIGNED(4)
KS_UNALIGNED(8)
KS_UNALIGNED(16)
extern "C" void __tsan_read_range(void *place, size_t bytes) { access(place, bytes, Kind::read); }
extern "C" void __tsan_write_range(void *place, size_t bytes) { access(place, bytes, Kind::write); }
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
extern "C" void __tsan_vptr_update(void **, void *) {}
extern "C" void __tsan_vptr_read(void **) {}
extern "C" int __tsan_atomic32_load(const volatile int *place, int) { return *place; }
extern "C" void __tsan_atomic32_store(volatile int *place, int value, int) { *place = value; }

#endif
