#include "kernel_types.h"

#include <errno.h>

#include "bpf_object.h"

namespace socktrace {

Result<KernelTypes> KernelTypes::read() {
  LibbpfLog log;
  btf *types = btf__load_vmlinux_btf();
  if (!types)
    return Failure{"read the kernel's types (BTF)", errno, log.telling_line()};
  return KernelTypes(types);
}

bool KernelTypes::has_struct(const char *name) const {
  return btf__find_by_name_kind(types_.get(), name, BTF_KIND_STRUCT) > 0;
}

int KernelTypes::function(const char *name) const {
  return btf__find_by_name_kind(types_.get(), name, BTF_KIND_FUNC);
}

} // namespace socktrace
