#include "layout.h"

#include <stddef.h>

#include "census_records.h"
#include "records.h"

namespace socktrace {
namespace {

struct Field {
  const char *name;
  size_t offset, size;
};

template<size_t N>
void add_record(Napi::Object &records, const char *name, size_t size, const Field (&fields)[N]) {
  Napi::Env env = records.Env();
  Napi::Object described = Napi::Object::New(env);
  for (const Field &field : fields) {
    Napi::Array place = Napi::Array::New(env, 2);
    place.Set(0u, Napi::Number::New(env, static_cast<double>(field.offset)));
    place.Set(1u, Napi::Number::New(env, static_cast<double>(field.size)));
    described.Set(field.name, place);
  }
  Napi::Object record = Napi::Object::New(env);
  record.Set("size", Napi::Number::New(env, static_cast<double>(size)));
  record.Set("fields", described);
  records.Set(name, record);
}

#define FIELD(type, member)                                                                                  \
  { #member, offsetof(type, member), sizeof(type::member) }
#define ROW_FIELD(member)                                                                                    \
  { #member, offsetof(socket_record, row) + offsetof(socket_row, member), sizeof(socket_row::member) }
#define PROCESS_FIELD(member)                                                                                \
  { #member, offsetof(process_record, row) + offsetof(process_row, member), sizeof(process_row::member) }
#define FAILURE_FIELD(member)                                                                                \
  { #member, offsetof(failure_record, row) + offsetof(failure_row, member), sizeof(failure_row::member) }

#define PATH_FIELD(member)                                                                                   \
  { #member, offsetof(path_record, row) + offsetof(path_row, member), sizeof(path_row::member) }

#define CENSUS_FIELD(member)                                                                                 \
  { #member, offsetof(census_record, row) + offsetof(census_row, member), sizeof(census_row::member) }

constexpr Field kSocket[] = {
    FIELD(socket_record, sk),
    ROW_FIELD(birth_ns),
    ROW_FIELD(version_ns),
    ROW_FIELD(owner_start_ns),
    ROW_FIELD(owner_tgid),
    ROW_FIELD(netns),
    ROW_FIELD(uid),
    ROW_FIELD(local_port),
    ROW_FIELD(peer_port),
    ROW_FIELD(bind_errno),
    ROW_FIELD(connect_errno),
    ROW_FIELD(socket_errno),
    ROW_FIELD(family),
    ROW_FIELD(state),
    ROW_FIELD(release_state),
    ROW_FIELD(ever_bound),
    ROW_FIELD(ever_connecting),
    ROW_FIELD(ever_established),
    ROW_FIELD(ever_listening),
    ROW_FIELD(accepted),
    ROW_FIELD(seeded),
    ROW_FIELD(history_unknown),
    ROW_FIELD(released),
    ROW_FIELD(held_at_exit),
    ROW_FIELD(destroyed),
    ROW_FIELD(local_address),
    ROW_FIELD(peer_address),
    ROW_FIELD(open_path),
    ROW_FIELD(bind_path),
};
constexpr Field kHolder[] = {
    FIELD(holder_record, sk),
    FIELD(holder_record, birth_ns),
    FIELD(holder_record, start_ns),
    FIELD(holder_record, tgid),
    FIELD(holder_record, fd),
    FIELD(holder_record, inode),
    FIELD(holder_record, bytes_received),
    FIELD(holder_record, bytes_acked),
    FIELD(holder_record, receive_queue),
    FIELD(holder_record, send_queue),
};
constexpr Field kProcess[] = {
    {"start_ns", offsetof(process_record, key) + offsetof(process_key, start_ns),
     sizeof(process_key::start_ns)},
    {"tgid", offsetof(process_record, key) + offsetof(process_key, tgid), sizeof(process_key::tgid)},
    PROCESS_FIELD(exited_ns),
    PROCESS_FIELD(opened),
    PROCESS_FIELD(accepted),
    PROCESS_FIELD(bound),
    PROCESS_FIELD(connected),
    PROCESS_FIELD(listened),
    PROCESS_FIELD(destroyed),
    PROCESS_FIELD(parent_tgid),
    PROCESS_FIELD(execs),
    PROCESS_FIELD(comm),
};
constexpr Field kFailure[] = {
    {"start_ns", offsetof(failure_record, key) + offsetof(failure_key, start_ns),
     sizeof(failure_key::start_ns)},
    {"tgid", offsetof(failure_record, key) + offsetof(failure_key, tgid), sizeof(failure_key::tgid)},
    {"error", offsetof(failure_record, key) + offsetof(failure_key, error), sizeof(failure_key::error)},
    {"operation", offsetof(failure_record, key) + offsetof(failure_key, operation),
     sizeof(failure_key::operation)},
    {"detail", offsetof(failure_record, key) + offsetof(failure_key, detail), sizeof(failure_key::detail)},
    FAILURE_FIELD(count),
    FAILURE_FIELD(first_ns),
    FAILURE_FIELD(last_ns),
    FAILURE_FIELD(path),
    FAILURE_FIELD(netns),
    FAILURE_FIELD(uid),
    FAILURE_FIELD(comm),
};
constexpr Field kPath[] = {
    FIELD(path_record, ref),
    FIELD(path_record, gone),
    PATH_FIELD(counts),
};
constexpr Field kEvent[] = {
    FIELD(event_record, type),       FIELD(event_record, tgid),      FIELD(event_record, at_ns),
    FIELD(event_record, sk),         FIELD(event_record, birth_ns),  FIELD(event_record, error),
    FIELD(event_record, local_port), FIELD(event_record, peer_port), FIELD(event_record, family),
    FIELD(event_record, old_state),  FIELD(event_record, state),
};
constexpr Field kCensus[] = {
    FIELD(census_record, sk),    CENSUS_FIELD(inode),         CENSUS_FIELD(via_inode),
    CENSUS_FIELD(via_sk),        CENSUS_FIELD(active_us),     CENSUS_FIELD(bytes_received),
    CENSUS_FIELD(bytes_acked),   CENSUS_FIELD(segments_out),  CENSUS_FIELD(netns),
    CENSUS_FIELD(uid),           CENSUS_FIELD(receive_queue), CENSUS_FIELD(send_queue),
    CENSUS_FIELD(memory),        CENSUS_FIELD(local_port),    CENSUS_FIELD(stale_port),
    CENSUS_FIELD(peer_port),     CENSUS_FIELD(error),         CENSUS_FIELD(family),
    CENSUS_FIELD(state),         CENSUS_FIELD(ways),          CENSUS_FIELD(flags),
    CENSUS_FIELD(local_address), CENSUS_FIELD(peer_address),
};
constexpr Field kCensusDescriptor[] = {
    FIELD(census_descriptor, sk),   FIELD(census_descriptor, inode), FIELD(census_descriptor, start_ns),
    FIELD(census_descriptor, tgid), FIELD(census_descriptor, fd),
};
constexpr Field kCensusMinisock[] = {
    FIELD(census_minisock, netns),        FIELD(census_minisock, local_port),
    FIELD(census_minisock, peer_port),    FIELD(census_minisock, family),
    FIELD(census_minisock, state),        FIELD(census_minisock, local_address),
    FIELD(census_minisock, peer_address),
};

// In the order of enum counter.
constexpr const char *kCounters[] = {
    "host_opened",
    "host_cloned",
    "host_destroyed",
    "tracked_opened",
    "tracked_accepted",
    "tracked_seeded",
    "tracked_arrived",
    "tracked_destroyed",
    "sockets_sent",
    "ended_sent",
    "events_sent",
    "stale_replaced",
    "destroy_unseen",
    "mptcp_held",
    "confirm_repaired",
    "paths_sampled",
    "paths_cached",
    "paths_not_sampled",
    "loss_socket_table_full",
    "loss_socket_insert",
    "loss_socket_delete",
    "loss_ended_park",
    "loss_process_table",
    "loss_failure_table",
    "loss_victim_table",
    "loss_event_ring",
    "loss_sockaddr_unread",
    "loss_stack_ring",
    "loss_path_table",
};
static_assert(sizeof(kCounters) / sizeof(kCounters[0]) == COUNTER_COUNT, "a name for each counter");

// In the order of enum census_counter.
constexpr const char *kCensusCounters[] = {
    "tableFull", "unixQueuesCut", "ioUringsCut", "acceptQueuesCut", "mptcpBare",
};
static_assert(sizeof(kCensusCounters) / sizeof(kCensusCounters[0]) == CENSUS_COUNTER_COUNT,
              "a name for each counter");

template<size_t N>
Napi::Array names(Napi::Env env, const char *const (&all)[N]) {
  Napi::Array array = Napi::Array::New(env, N);
  for (uint32_t i = 0; i < N; i++)
    array.Set(i, all[i]);
  return array;
}

} // namespace

Napi::Object describe_layout(Napi::Env env) {
  Napi::Object records = Napi::Object::New(env);
  add_record(records, "socket", sizeof(socket_record), kSocket);
  add_record(records, "holder", sizeof(holder_record), kHolder);
  add_record(records, "process", sizeof(process_record), kProcess);
  add_record(records, "failure", sizeof(failure_record), kFailure);
  add_record(records, "path", sizeof(path_record), kPath);
  add_record(records, "event", sizeof(event_record), kEvent);
  add_record(records, "census", sizeof(census_record), kCensus);
  add_record(records, "censusDescriptor", sizeof(census_descriptor), kCensusDescriptor);
  add_record(records, "censusMinisock", sizeof(census_minisock), kCensusMinisock);
  Napi::Object layout = Napi::Object::New(env);
  layout.Set("records", records);
  layout.Set("counters", names(env, kCounters));
  layout.Set("censusCounters", names(env, kCensusCounters));
  return layout;
}

} // namespace socktrace
