// What the records look like, for TypeScript to check before it decodes anything.
#pragma once

#include <napi.h>

namespace socktrace {

// {records: {name: {size, fields: {name: [offset, size]}}}, counters: [names in order]}
Napi::Object describe_layout(Napi::Env env);

} // namespace socktrace
