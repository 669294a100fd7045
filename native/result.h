// What a native step returns: a value, or a failure that can be told to a user. No exceptions anywhere.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace socktrace {

struct Failure {
  std::string step;   // what was being done, e.g. "attach cgroup_open"
  int error = 0;      // errno, positive; 0 when the kernel gave none
  std::string detail; // the kernel's or libbpf's own words, may be empty
};

template<typename T>
class Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Failure failure) : failure_(std::move(failure)) {}
  bool ok() const {
    return value_.has_value();
  }
  T &value() {
    return *value_;
  }
  const Failure &failure() const {
    return failure_;
  }

private:
  std::optional<T> value_;
  Failure failure_;
};

using Status = std::optional<Failure>; // empty: done

} // namespace socktrace
