// How the pool of a CrashRun is made, and gets disks, while these fail: it can be asked for again, and in the end there is
// a whole pool. What failed leaves no disk in use.
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "sim/pool/crash_run.h"

namespace holdfast::sim {

bool CrashRun::may_be_forced(const Error& error) noexcept {
  return error.code() == Errc::failed_precondition && error.message().find("--force") != std::string::npos;
}

// What the pool will have seen fail is what fails from here on.
void CrashRun::look_after_disks() {
  counted_.clear();
  for (std::size_t i = 0; i < disks_.size(); ++i) counted_.push_back(faults_.counts(i));
  flushes_failed_ = faults_.failed_flushes();
  for (CrashDisk* disk : disks_) disk->restore();
}

void CrashRun::make() {
  made_in_trouble_ = options_.faults && random_.chance(1, 2);
  members_ = made_in_trouble_ ? 1 + random_.below(3) : options_.disks;
  for (std::size_t i = 0; i < members_; ++i) add(used_disk());
  steps_.push_back(std::make_unique<Step>());
  steps_.back()->ended = 0;
  steps_.back()->disks = members_;
  pool::PoolParams params;
  params.name = pool_name;
  params.disks = uris(members_);
  params.cluster_bytes = cluster_bytes;
  while (pool_ == nullptr && failure_.empty()) {
    if (made_in_trouble_) faults_.draw(members_, MiB, MiB + journal_bytes);
    const std::uint64_t failures = faults_.failures();
    look_after_disks();
    auto made = await(pool::Pool::create(registry_, params, pool_options(), nullptr));
    if (made.ok()) {
      pool_ = std::move(made).value();
    } else if (!make_again(made.error(), failures, params)) {
      return;
    }
  }
  faults_.lift();
  created_ = log_.tick();
}

// What is there now is a whole pool, which may be opened, or none.
bool CrashRun::make_again(const Error& error, std::uint64_t failures, pool::PoolParams& params) {
  HF_LOG(info, "sim", "the pool was not made", {"error", error});
  check_unused(0, members_);
  if (faults_.failures() == failures) {
    if (params.force || !may_be_forced(error)) fail("making the pool: " + error.message());
    params.force = true;
  }
  if (random_.chance(1, 3)) faults_.lift();
  if (!failure_.empty() || random_.chance(1, 2)) return failure_.empty();
  look_after_disks();
  auto opened =
      await(pool::Pool::open(registry_, uris(members_), pool_name, std::nullopt, pool_options(), nullptr));
  if (!opened.ok()) {
    check_unused(0, members_);
    return failure_.empty();
  }
  pool_ = std::move(opened).value();
  if (pool_->view().disks.size() != members_ || !pool_->volumes().empty()) fail("half of a pool was opened");
  return failure_.empty();
}

void CrashRun::check_unused(std::size_t first, std::size_t end) {
  for (std::size_t i = first; i < end; ++i) {
    const auto claim = registry_.claim(*disks_[i], "the user");
    if (!claim.ok()) fail("a disk stays in use: " + claim.error().message());
  }
}

// Once more the one that could not be added, with the label that it got or did not get.
void CrashRun::add_disk() {
  if (unknown_ != nullptr || members_ > 3) return;
  if (disks_.size() == members_) add(used_disk());
  const std::string uri = disks_[members_]->name();
  counted_.resize(disks_.size());
  counted_[members_] = faults_.counts(members_);
  const std::size_t before = members_;
  step(
      "add disk", objects(), [this, uri] { return pool_->add_disk(uri, false); }, members_ + 1);
  if (members_ == before) check_unused(before, before + 1);
}

}  // namespace holdfast::sim
