#include "nexus/nexus.h"

#include "nexus/control.h"
#include "nexus/nexus_channel.h"

namespace holdfast::nexus {

Nexus::Nexus(BlockDevice::Identity identity) : BlockDevice(std::move(identity)) {}

Nexus::~Nexus() = default;

Task<Result<std::unique_ptr<Nexus>>> Nexus::create(DeviceRegistry& registry, MembershipStore& store,
                                                   NexusParams params, NexusOptions options,
                                                   NexusObserver* observer) {
  BlockDevice::Identity identity;
  identity.name = params.name;
  identity.uuid = params.uuid;
  identity.uri = "nexus:///" + params.name;
  identity.product_name = "Holdfast nexus";
  std::unique_ptr<Nexus> made(new Nexus(std::move(identity)));
  made->control_ = std::make_unique<Control>(registry, store, std::move(params), options, observer);
  HF_CO_CHECK(co_await made->control_->open(*made));
  co_return made;
}

const Geometry& Nexus::geometry() const noexcept { return control_->geometry(); }
const Capabilities& Nexus::capabilities() const noexcept { return control_->capabilities(); }

Task<Result<std::unique_ptr<Channel>>> Nexus::open_channel(Reactor& core) {
  co_return std::make_unique<NexusChannel>(control_->state_of(core));
}

Task<IoStats> Nexus::stats() { return control_->stats(); }
Task<IoLatencies> Nexus::latencies(bool reset) { return control_->latencies(reset); }

Task<void> Nexus::close() {
  (co_await control_->shutdown()).ignore("logged; the record stays unclean, which is safe");
}

NexusView Nexus::view() const { return control_->view(); }
Task<NexusCounters> Nexus::counters() { return control_->counters(); }
const NexusParams& Nexus::params() const noexcept { return control_->params(); }

Task<Status> Nexus::add_child(std::string uri, bool norebuild, std::uint32_t in_sync_through) {
  return control_->add_child(std::move(uri), norebuild, in_sync_through);
}
Task<Status> Nexus::remove_child(std::string uri) { return control_->remove_child(std::move(uri)); }
Task<Status> Nexus::offline_child(std::string uri) {
  return control_->take_offline(std::move(uri), Fault::offline);
}
Task<Status> Nexus::online_child(std::string uri) { return control_->online_child(std::move(uri)); }
Task<Status> Nexus::fault_child(std::string uri, Fault fault) {
  return control_->take_offline(std::move(uri), fault);
}

Task<Status> Nexus::start_rebuild(std::string uri) { return control_->start_rebuild(std::move(uri)); }
Task<Status> Nexus::stop_rebuild(std::string uri) { return control_->stop_rebuild(std::move(uri)); }
Task<Status> Nexus::pause_rebuild(std::string uri) { return control_->pause_rebuild(std::move(uri)); }
Task<Status> Nexus::resume_rebuild(std::string uri) { return control_->resume_rebuild(std::move(uri)); }
Result<RebuildStats> Nexus::rebuild_stats(std::string_view uri) const { return control_->rebuild_stats(uri); }
std::vector<RebuildRecord> Nexus::rebuild_history() const { return control_->history(); }

Task<Status> Nexus::resize(std::uint64_t size_bytes) { return control_->resize(size_bytes); }
Task<Status> Nexus::shutdown() { return control_->shutdown(); }

}  // namespace holdfast::nexus
