// Answers what the tracer asks: stacks into frames, frames into names.
#pragma once

namespace socktrace::unwinder {

// On kUnwinderSocket, until the tracer has gone (0), or has said what it never says (1).
int serve();

} // namespace socktrace::unwinder
