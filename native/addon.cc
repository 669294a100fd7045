// The door: everything that crosses to JavaScript. Nothing throws; every call answers {ok: true, ...} or
// {ok: false, error: {step, errno, detail}}, and src/kernel/binding.ts is the only importer.
#include <napi.h>
#include <unistd.h>

#include "argument_reader.h"
#include "census.h"
#include "debug_file.h"
#include "inherited.h"
#include "layout.h"
#include "privileges.h"
#include "signals.h"
#include "socket_namespace.h"
#include "tracer.h"

namespace socktrace {
namespace {

Napi::Object failed(Napi::Env env, const Failure &failure) {
  Napi::Object error = Napi::Object::New(env);
  error.Set("step", failure.step);
  error.Set("errno", failure.error);
  error.Set("detail", failure.detail);
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("ok", false);
  answer.Set("error", error);
  return answer;
}

Napi::Object done(Napi::Env env) {
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("ok", true);
  return answer;
}

Napi::Object answer_of(Napi::Env env, const Status &status) {
  return status ? failed(env, *status) : done(env);
}

uint64_t number_option(const Napi::Object &options, const char *name, uint64_t fallback) {
  Napi::Value value = options.Get(name);
  return value.IsNumber() ? static_cast<uint64_t>(value.As<Napi::Number>().Int64Value()) : fallback;
}

uint64_t number_of(const Napi::Value &value) {
  bool lossless;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

Napi::Array notes_of(Napi::Env env, uint32_t notes) {
  Napi::Array all = Napi::Array::New(env);
  for (uint32_t note = 1; note <= kNoteLast; note <<= 1)
    if (notes & note)
      all.Set(all.Length(), path_note_text(static_cast<PathNote>(note)));
  return all;
}

Napi::Object named_path(Napi::Env env, const NamedPath &path) {
  Napi::Object entry = Napi::Object::New(env);
  entry.Set("path", Napi::BigInt::New(env, path.path_id));
  entry.Set("quality", static_cast<double>(path.quality));
  entry.Set("notes", notes_of(env, path.notes));
  Napi::Array frames = Napi::Array::New(env, path.frames.size());
  uint32_t at = 0;
  for (const NamedPathFrame &frame : path.frames) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("function", frame.function);
    one.Set("module", frame.module);
    one.Set("buildId", frame.build_id);
    one.Set("offset", Napi::BigInt::New(env, frame.offset));
    one.Set("file", frame.file);
    one.Set("line", static_cast<double>(frame.line));
    one.Set("how", static_cast<double>(frame.how));
    frames.Set(at++, one);
  }
  entry.Set("frames", frames);
  return entry;
}

Napi::Object unwound_path(Napi::Env env, const UnwoundPath &path) {
  Napi::Object entry = Napi::Object::New(env);
  entry.Set("ref", Napi::BigInt::New(env, path.ref));
  entry.Set("path", Napi::BigInt::New(env, path.path_id));
  entry.Set("quality", static_cast<double>(path.quality));
  entry.Set("notes", notes_of(env, path.notes));
  return entry;
}

uint8_t flag_option(const Napi::Object &options, const char *name) {
  Napi::Value value = options.Get(name);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

class TracerDoor : public Napi::ObjectWrap<TracerDoor> {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Tracer",
                       {
                           InstanceMethod<&TracerDoor::open>("open"),
                           InstanceMethod<&TracerDoor::want_process>("wantProcess"),
                           InstanceMethod<&TracerDoor::add_selector>("addSelector"),
                           InstanceMethod<&TracerDoor::start>("start"),
                           InstanceMethod<&TracerDoor::end_seeding>("endSeeding"),
                           InstanceMethod<&TracerDoor::read>("read"),
                           InstanceMethod<&TracerDoor::take_news>("takeNews"),
                           InstanceMethod<&TracerDoor::drain_events>("drainEvents"),
                           InstanceMethod<&TracerDoor::pump_paths>("pumpPaths"),
                           InstanceMethod<&TracerDoor::want_path_names>("wantPathNames"),
                           InstanceMethod<&TracerDoor::offer_debug_file>("offerDebugFile"),
                           InstanceMethod<&TracerDoor::forget_code>("forgetCode"),
                           InstanceMethod<&TracerDoor::counters>("counters"),
                           InstanceMethod<&TracerDoor::misses>("misses"),
                           InstanceMethod<&TracerDoor::close>("close"),
                       });
  }

  // The hook detaches when the environment (a worker, say) ends before the garbage collector has come by.
  explicit TracerDoor(const Napi::CallbackInfo &info) : Napi::ObjectWrap<TracerDoor>(info), env_(info.Env()) {
    napi_add_env_cleanup_hook(env_, end_of_environment, this);
  }
  TracerDoor(const TracerDoor &) = delete;
  TracerDoor &operator=(const TracerDoor &) = delete;
  ~TracerDoor() override {
    napi_remove_env_cleanup_hook(env_, end_of_environment, this);
  }

private:
  static void end_of_environment(void *self) {
    static_cast<TracerDoor *>(self)->tracer_.reset();
  }

  Napi::Value open(const Napi::CallbackInfo &info) {
    Napi::Object asked = info[0].As<Napi::Object>();
    TracerOptions options;
    Napi::Value hooks = asked.Get("hooks");
    if (hooks.IsString())
      options.hooks = hooks.As<Napi::String>().Utf8Value();
    options.max_sockets = static_cast<uint32_t>(number_option(asked, "maxSockets", options.max_sockets));
    options.max_processes =
        static_cast<uint32_t>(number_option(asked, "maxProcesses", options.max_processes));
    options.max_failures = static_cast<uint32_t>(number_option(asked, "maxFailures", options.max_failures));
    options.max_paths = static_cast<uint32_t>(number_option(asked, "maxPaths", options.max_paths));
    options.event_ring_bytes =
        static_cast<uint32_t>(number_option(asked, "eventRingBytes", options.event_ring_bytes));
    options.config.min_age_ns = number_option(asked, "minAgeNs", 0);
    options.config.follow_children = flag_option(asked, "followChildren");
    options.config.count_victims = flag_option(asked, "countVictims");
    options.config.stream_events = flag_option(asked, "streamEvents");
    options.config.call_paths = flag_option(asked, "callPaths");
    options.config.every_stack = flag_option(asked, "everyStack");
    options.config.select_all = flag_option(asked, "selectAll");
    options.config.select_types = static_cast<uint8_t>(number_option(asked, "selectTypes", 0));
    options.config.nested_pids = flag_option(asked, "nestedPids");
    options.config.tracer_tgid = static_cast<uint32_t>(getpid());
    options.stack_ring_bytes =
        static_cast<uint32_t>(number_option(asked, "stackRingBytes", options.stack_ring_bytes));
    Napi::Value unwinder = asked.Get("unwinder");
    if (unwinder.IsString())
      options.unwinder = unwinder.As<Napi::String>().Utf8Value();
    Napi::Value code_reader = asked.Get("codeReader");
    if (code_reader.IsString())
      options.code_reader = code_reader.As<Napi::String>().Utf8Value();
    Result<std::unique_ptr<Tracer>> opened = Tracer::open(options);
    if (!opened.ok())
      return failed(info.Env(), opened.failure());
    tracer_ = std::move(opened.value());
    Napi::Object answer = done(info.Env());
    answer.Set("set", tracer_->hooks().set.name);
    Napi::Array refused = Napi::Array::New(info.Env());
    for (const RefusedSet &set : tracer_->hooks().refused) {
      Napi::Object entry = failed(info.Env(), set.failure).Get("error").As<Napi::Object>();
      entry.Set("set", set.set);
      refused.Set(refused.Length(), entry);
    }
    answer.Set("refused", refused);
    Napi::Array unseen = Napi::Array::New(info.Env());
    for (const std::string &what : tracer_->unseen())
      unseen.Set(unseen.Length(), what);
    answer.Set("unseen", unseen);
    auto refusal = [&](const Status &status) {
      return status ? failed(info.Env(), *status).Get("error") : info.Env().Null();
    };
    answer.Set("failuresRefused", refusal(tracer_->failures_refused()));
    answer.Set("pathsRefused", refusal(tracer_->paths_refused()));
    return answer;
  }

  Napi::Value want_process(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    uint64_t start_ticks = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
    return answer_of(info.Env(),
                     tracer_->want_process(info[0].As<Napi::Number>().Uint32Value(), start_ticks));
  }

  // addSelector(type, value: Uint8Array) -> {ok}
  Napi::Value add_selector(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    auto type = static_cast<selector_type>(info[0].As<Napi::Number>().Uint32Value());
    Napi::Uint8Array value = info[1].As<Napi::Uint8Array>();
    return answer_of(info.Env(), tracer_->add_selector(type, value.Data(), value.ByteLength()));
  }

  Napi::Value start(const Napi::CallbackInfo &info) {
    return tracer_ ? answer_of(info.Env(), tracer_->start()) : closed(info);
  }

  Napi::Value end_seeding(const Napi::CallbackInfo &info) {
    return tracer_ ? answer_of(info.Env(), tracer_->end_seeding()) : closed(info);
  }

  // read(walk, Uint8Array) -> {ok, bytes}
  Napi::Value read(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    uint32_t walk = info[0].As<Napi::Number>().Uint32Value();
    if (walk >= static_cast<uint32_t>(Walk::kCount))
      return failed(info.Env(), {"read an unknown iterator", EINVAL, ""});
    Napi::Uint8Array buffer = info[1].As<Napi::Uint8Array>();
    return bytes(info, tracer_->read(static_cast<Walk>(walk), buffer.Data(), buffer.ByteLength()));
  }

  // takeNews() -> {ok, walks: bits by enum Walk}
  Napi::Value take_news(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Napi::Object answer = done(info.Env());
    answer.Set("walks", static_cast<double>(tracer_->take_news()));
    return answer;
  }

  // drainEvents(Uint8Array) -> {ok, bytes}
  Napi::Value drain_events(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Napi::Uint8Array buffer = info[0].As<Napi::Uint8Array>();
    return bytes(info, tracer_->drain_events(buffer.Data(), buffer.ByteLength()));
  }

  // pumpPaths() -> {ok, unwound: [{ref: bigint, path: bigint, quality, notes}], named: [{path: bigint, quality, notes,
  // frames: [...]}], debugFiles: [{buildId, isRight}], pending, deaths, audited, wrong, unwinderPid}; qualities, notes and
  // ways as in unwinder/protocol.h
  Napi::Value pump_paths(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Result<UnwinderAnswers> pumped = tracer_->pump_paths();
    if (!pumped.ok())
      return failed(info.Env(), pumped.failure());
    Napi::Env env = info.Env();
    Napi::Object answer = done(env);
    Napi::Array unwound = Napi::Array::New(env, pumped.value().unwound.size());
    uint32_t at = 0;
    for (const UnwoundPath &path : pumped.value().unwound)
      unwound.Set(at++, unwound_path(env, path));
    answer.Set("unwound", unwound);
    Napi::Array named = Napi::Array::New(env, pumped.value().named.size());
    at = 0;
    for (const NamedPath &path : pumped.value().named)
      named.Set(at++, named_path(env, path));
    answer.Set("named", named);
    Napi::Array debug_files = Napi::Array::New(env);
    for (const ReadDebugFile &file : pumped.value().debug_files) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("buildId", file.build_id);
      entry.Set("isRight", file.is_right);
      debug_files.Set(debug_files.Length(), entry);
    }
    answer.Set("debugFiles", debug_files);
    PathCounters counters = tracer_->path_counters();
    answer.Set("pending", static_cast<double>(tracer_->pending_paths()));
    answer.Set("deaths", static_cast<double>(counters.unwinder.deaths));
    answer.Set("audited", static_cast<double>(counters.cache.audited));
    answer.Set("wrong", static_cast<double>(counters.cache.wrong));
    answer.Set("unwinderPid", static_cast<double>(counters.unwinder_pid));
    return answer;
  }

  // wantPathNames(path: bigint) -> {ok, taken}
  Napi::Value want_path_names(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Napi::Object answer = done(info.Env());
    answer.Set("taken", tracer_->want_path_names(number_of(info[0])));
    return answer;
  }

  // offerDebugFile(buildId: Buffer, folder, path inside of it) -> {ok, taken}
  Napi::Value offer_debug_file(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Napi::Buffer<char> build_id = info[0].As<Napi::Buffer<char>>();
    Result<Descriptor> file =
        open_debug_file(info[1].As<Napi::String>().Utf8Value(), info[2].As<Napi::String>().Utf8Value());
    if (!file.ok())
      return failed(info.Env(), file.failure());
    Napi::Object answer = done(info.Env());
    answer.Set("taken",
               tracer_->offer_debug_file(std::string(build_id.Data(), build_id.Length()), file.value()));
    return answer;
  }

  // forgetCode(pid, startNs: bigint, execs) -> {ok}
  Napi::Value forget_code(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    tracer_->forget_code({info[0].As<Napi::Number>().Uint32Value(), info[2].As<Napi::Number>().Uint32Value(),
                          number_of(info[1])});
    return done(info.Env());
  }

  // counters() -> {ok, values: number[] in the layout's order}
  Napi::Value counters(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    auto sums = tracer_->counters();
    if (!sums.ok())
      return failed(info.Env(), sums.failure());
    Napi::Array values = Napi::Array::New(info.Env(), sums.value().size());
    for (uint32_t i = 0; i < sums.value().size(); i++)
      values.Set(i, static_cast<double>(sums.value()[i]));
    Napi::Object answer = done(info.Env());
    answer.Set("values", values);
    return answer;
  }

  // misses(names: string[]) -> {ok, programs: [{program, misses}]}, of all programs for no names
  Napi::Value misses(const Napi::CallbackInfo &info) {
    if (!tracer_)
      return closed(info);
    Napi::Array asked = info[0].As<Napi::Array>();
    std::vector<std::string> names;
    for (uint32_t i = 0; i < asked.Length(); i++)
      names.push_back(asked.Get(i).As<Napi::String>().Utf8Value());
    auto all = tracer_->misses(names);
    if (!all.ok())
      return failed(info.Env(), all.failure());
    Napi::Array programs = Napi::Array::New(info.Env());
    for (const ProgramMisses &one : all.value()) {
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("program", one.program);
      entry.Set("misses", static_cast<double>(one.misses));
      programs.Set(programs.Length(), entry);
    }
    Napi::Object answer = done(info.Env());
    answer.Set("programs", programs);
    return answer;
  }

  Napi::Value close(const Napi::CallbackInfo &info) {
    tracer_.reset();
    return done(info.Env());
  }

  static Napi::Value closed(const Napi::CallbackInfo &info) {
    return failed(info.Env(), {"use a tracer that is not open", EBADF, ""});
  }

  static Napi::Value bytes(const Napi::CallbackInfo &info, Result<size_t> got) {
    if (!got.ok())
      return failed(info.Env(), got.failure());
    Napi::Object answer = done(info.Env());
    answer.Set("bytes", static_cast<double>(got.value()));
    return answer;
  }

  napi_env env_;
  std::unique_ptr<Tracer> tracer_;
};

// tryProgram(name) -> {ok} or the kernel's refusal
Napi::Value try_program_door(const Napi::CallbackInfo &info) {
  return answer_of(info.Env(), try_program(info[0].As<Napi::String>().Utf8Value()));
}

Napi::Value buffer_of(Napi::Env env, const std::vector<char> &bytes) {
  return Napi::Buffer<char>::Copy(env, bytes.data(), bytes.size());
}

// takeCensus({maxSockets, namespaces: paths}) -> {ok, rows, descriptors, minisocks: Buffer, counters: number[],
// namespaces: [{ok, error?, path, inode, portRange, reservedPorts, sockstat, sockstat6}]}
Napi::Value take_census_door(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  Napi::Object asked = info[0].As<Napi::Object>();
  CensusOptions options;
  options.max_sockets = static_cast<uint32_t>(number_option(asked, "maxSockets", options.max_sockets));
  Napi::Array paths = asked.Get("namespaces").As<Napi::Array>();
  for (uint32_t i = 0; i < paths.Length(); i++)
    options.namespaces.push_back(paths.Get(i).As<Napi::String>().Utf8Value());
  Result<Census> taken = take_census(options);
  if (!taken.ok())
    return failed(env, taken.failure());
  const Census &census = taken.value();
  Napi::Object answer = done(env);
  answer.Set("rows", buffer_of(env, census.rows));
  answer.Set("descriptors", buffer_of(env, census.descriptors));
  answer.Set("minisocks", buffer_of(env, census.minisocks));
  Napi::Array counters = Napi::Array::New(env, CENSUS_COUNTER_COUNT);
  for (uint32_t i = 0; i < CENSUS_COUNTER_COUNT; i++)
    counters.Set(i, static_cast<double>(census.counters[i]));
  answer.Set("counters", counters);
  Napi::Array namespaces = Napi::Array::New(env);
  for (const CensusNamespace &space : census.namespaces) {
    Napi::Object entry = answer_of(env, space.failure);
    entry.Set("path", space.path);
    entry.Set("inode", static_cast<double>(space.inode));
    entry.Set("portRange", space.port_range);
    entry.Set("reservedPorts", space.reserved_ports);
    entry.Set("sockstat", space.sockstat);
    entry.Set("sockstat6", space.sockstat6);
    namespaces.Set(namespaces.Length(), entry);
  }
  answer.Set("namespaces", namespaces);
  return answer;
}

// openSocketNamespace(pid, fd) -> {ok, descriptor, inode}; the caller closes the descriptor
Napi::Value open_socket_namespace_door(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  int pid = info[0].As<Napi::Number>().Int32Value(), fd = info[1].As<Napi::Number>().Int32Value();
  Result<SocketNamespace> opened = open_socket_namespace(pid, fd);
  if (!opened.ok())
    return failed(env, opened.failure());
  Napi::Object answer = done(env);
  answer.Set("descriptor", opened.value().descriptor.release());
  answer.Set("inode", static_cast<double>(opened.value().inode));
  return answer;
}

// new ArgumentReader(path of its executable); its process is started when it is first asked.
class ArgumentReaderDoor : public Napi::ObjectWrap<ArgumentReaderDoor> {
public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ArgumentReader",
                       {
                           InstanceMethod<&ArgumentReaderDoor::read>("read"),
                           InstanceMethod<&ArgumentReaderDoor::close>("close"),
                       });
  }

  explicit ArgumentReaderDoor(const Napi::CallbackInfo &info)
      : Napi::ObjectWrap<ArgumentReaderDoor>(info), path_(info[0].As<Napi::String>().Utf8Value()) {}

private:
  // read(pid) -> {ok, bytes: Buffer}
  Napi::Value read(const Napi::CallbackInfo &info) {
    if (!reader_) {
      Result<HelperProgram> program = HelperProgram::open(path_);
      if (!program.ok())
        return failed(info.Env(), program.failure());
      reader_ = std::make_unique<ArgumentReader>(std::move(program.value()));
    }
    Result<std::string> bytes = reader_->read(info[0].As<Napi::Number>().Uint32Value());
    if (!bytes.ok())
      return failed(info.Env(), bytes.failure());
    Napi::Object answer = done(info.Env());
    answer.Set("bytes", Napi::Buffer<char>::Copy(info.Env(), bytes.value().data(), bytes.value().size()));
    return answer;
  }

  Napi::Value close(const Napi::CallbackInfo &info) {
    reader_.reset();
    return info.Env().Undefined();
  }

  const std::string path_;
  std::unique_ptr<ArgumentReader> reader_;
};

std::vector<int> numbers_of(const Napi::Value &list) {
  Napi::Array asked = list.As<Napi::Array>();
  std::vector<int> numbers;
  for (uint32_t i = 0; i < asked.Length(); i++)
    numbers.push_back(asked.Get(i).As<Napi::Number>().Int32Value());
  return numbers;
}

// keepCapabilities(numbers) -> {ok}
Napi::Value keep_capabilities_door(const Napi::CallbackInfo &info) {
  return answer_of(info.Env(), keep_capabilities(numbers_of(info[0])));
}

// letGo(descriptors) -> {ok}
Napi::Value let_go_door(const Napi::CallbackInfo &info) {
  return answer_of(info.Env(), let_go(numbers_of(info[0])));
}

// passSignalsTo(pid) -> {ok}
Napi::Value pass_signals_to_door(const Napi::CallbackInfo &info) {
  return answer_of(info.Env(), pass_signals_to(info[0].As<Napi::Number>().Int32Value()));
}

// stopPassingSignals() -> {ok}
Napi::Value stop_passing_signals_door(const Napi::CallbackInfo &info) {
  stop_passing_signals();
  return done(info.Env());
}

// reapHelpers() -> whether none is left of those that were killed and did not end at once
Napi::Value reap_helpers_door(const Napi::CallbackInfo &info) {
  return Napi::Boolean::New(info.Env(), reap_given_up());
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("layout", describe_layout(env));
  exports.Set("tryProgram", Napi::Function::New(env, try_program_door, "tryProgram"));
  exports.Set("takeCensus", Napi::Function::New(env, take_census_door, "takeCensus"));
  exports.Set("openSocketNamespace",
              Napi::Function::New(env, open_socket_namespace_door, "openSocketNamespace"));
  exports.Set("keepCapabilities", Napi::Function::New(env, keep_capabilities_door, "keepCapabilities"));
  exports.Set("letGo", Napi::Function::New(env, let_go_door, "letGo"));
  exports.Set("passSignalsTo", Napi::Function::New(env, pass_signals_to_door, "passSignalsTo"));
  exports.Set("stopPassingSignals",
              Napi::Function::New(env, stop_passing_signals_door, "stopPassingSignals"));
  exports.Set("reapHelpers", Napi::Function::New(env, reap_helpers_door, "reapHelpers"));
  exports.Set("ArgumentReader", ArgumentReaderDoor::define(env));
  exports.Set("Tracer", TracerDoor::define(env));
  return exports;
}

NODE_API_MODULE(socktrace, initialize)

} // namespace
} // namespace socktrace
