#include <algorithm>
#include <utility>

#include "base/log.h"
#include "pool/image.h"
#include "pool/image_format.h"
#include "pool/pool_impl.h"

namespace holdfast::pool {

void Pool::Impl::checkpoint_wanted() noexcept {
  if (!checkpointing_) scope_.spawn(background_checkpoint());
}

Task<void> Pool::Impl::background_checkpoint() {
  const Status done = co_await run_checkpoint(false);
  if (!done.ok()) {
    HF_LOG(error, "pool", "a checkpoint failed", {"pool", name()}, {"error", done.error()});
  }
}

Task<Status> Pool::Impl::checkpoint() {
  if (read_only_) co_return *journal_->frozen();
  const std::uint64_t wanted = journal_->mark().sequence;
  while (checkpointing_) co_await checkpoint_over_.wait();
  if (checkpointed_ >= wanted) co_return Status();
  co_return co_await run_checkpoint(false);
}

// One at a time. `last`: nothing is committed any more.
Task<Status> Pool::Impl::run_checkpoint(bool last) {
  HF_ASSERT(!checkpointing_);
  checkpointing_ = true;
  const Nanos began = home_.now();
  Status outcome = co_await label_former();
  const Journal::Mark mark = journal_->mark();
  if (outcome.ok()) outcome = co_await write_checkpoint(mark, last);
  checkpoint_time_ = home_.now() - began;
  checkpointing_ = false;
  if (outcome.ok()) {
    count_checkpoint(mark);
  } else {
    journal_->checkpoint_ended(outcome, mark);
  }
  checkpoint_over_.wake_all();
  co_return outcome;
}

void Pool::Impl::count_checkpoint(Journal::Mark mark) noexcept {
  checkpointed_ = mark.sequence;
  fresh_->settled(mark.sequence);
  journal_->checkpoint_ended(Status(), mark);
}

// The image of the last attempt first: each one more would take clusters that nobody may free.
Task<Status> Pool::Impl::label_former() {
  if (!unlabelled_) co_return Status();
  const Journal::Mark former = unlabelled_->mark;
  HF_CO_CHECK(co_await label_image(false));
  count_checkpoint(former);
  co_return Status();
}

// Of what the commits up to the mark, the newest ones, have made.
Task<Status> Pool::Impl::write_checkpoint(Journal::Mark mark, bool last) {
  std::vector<Cluster> taken;
  ImageWriter writer(*state_);
  ImageIdentity identity{label_.superblock.instance, mark};
  ImageSource source{[&writer](std::span<std::byte> to) { return writer.next(to); },
                     [&writer] { return writer.done(); }};
  ImageClusters clusters = [this] { return space_->pick_for_image(); };
  auto root = co_await write_image(home_, *disks_, identity, std::move(source), std::move(clusters), taken);
  Effects effects;
  writer.finish(effects);
  space_->retire(std::move(effects));
  if (!root.ok()) {
    for (const Cluster c : taken) space_->free_image_cluster(c);
    co_return root.error().with_context(user());
  }
  // The commits before the mark may not be durable yet; the image is, and takes their place. What they carried of data
  // has to be in its place as well.
  const Status flushed = co_await disks_->flush(home_.core());
  if (!flushed.ok()) {
    for (const Cluster cluster : taken) space_->free_image_cluster(cluster);
    co_return flushed.error().with_context(user());
  }
  unlabelled_.emplace(Unlabelled{root.value(), mark, std::move(taken)});
  co_return co_await label_image(last);
}

// After an error it is not known which root counts: both images stay, and the next checkpoint begins with this one.
Task<Status> Pool::Impl::label_image(bool last) {
  Superblock& s = label_.superblock;
  s.root = unlabelled_->root;
  s.clean = last;
  s.members.clear();
  for (const DiskRecord& disk : state_->disks()) s.members.push_back(disk.uuid);
  HF_CO_CHECK(co_await write_label(home_, disks_->at(0).home(), label_));
  std::swap(image_, unlabelled_->image);
  for (const Cluster c : unlabelled_->image) space_->free_image_cluster(c);
  unlabelled_.reset();
  space_->image_is_written();
  keep_image_reserve();
  co_return Status();
}

// Room for the next image, which may be somewhat longer than this one; and for two of a pool all of whose clusters are
// partial: what is reserved for thick volumes becomes metadata as well.
void Pool::Impl::keep_image_reserve() noexcept {
  const std::uint64_t words = (state_->blocks_per_cluster() + 63) / 64;
  const std::uint64_t entry = sizeof(wire::LeafPartial) + words * sizeof(le64);
  const std::uint64_t payload =
      std::uint64_t{state_->cluster_bytes() / wire::image_piece_bytes} * wire::image_payload_max;
  const std::uint64_t full = state_->clusters().size() * entry * 9 / 8 / payload + 1;
  const std::uint64_t now = image_.size();
  const std::uint64_t next = now + std::max<std::uint64_t>(1, now / 4);
  space_->set_image_reserve(std::max(next, 2 * full - std::min(2 * full, now)));
}

}  // namespace holdfast::pool
