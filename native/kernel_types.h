// The types of the running kernel (BTF), for questions of our own: libbpf reads them anew for each object.
#pragma once

#include <bpf/btf.h>

#include <memory>

#include "result.h"

namespace socktrace {

class KernelTypes {
public:
  // Takes some 10 ms. Errors: what libbpf says; want of memory is ESRCH, too (libbpf 1.1).
  static Result<KernelTypes> read();

  bool has_struct(const char *name) const;
  // The id of a function, which programs are attached by; negative errno when there is none of that name.
  int function(const char *name) const;

private:
  struct Freer {
    void operator()(btf *types) const {
      btf__free(types);
    }
  };
  explicit KernelTypes(btf *types) : types_(types) {}

  std::unique_ptr<btf, Freer> types_;
};

} // namespace socktrace
