// PyTorch's functorch headers include nlohmann/json.hpp, which the wheel leaves out, for two inline functions that
// nothing here calls. This declares enough for them to compile; it is searched last, so that a real one is preferred.
#pragma once

#include <string>

namespace nlohmann {

class json {
  public:
    json();
    template <class T>
    explicit json(const T&);
    std::string dump() const;
    static json parse(const std::string&);
    template <class T>
    T get() const;
};

}  // namespace nlohmann
