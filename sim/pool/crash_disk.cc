#include "sim/pool/crash_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace holdfast::sim {
namespace {

Geometry geometry_of(std::uint64_t bytes) {
  Geometry g;
  g.block_bytes = DiskImage::sector_bytes;
  g.block_count = bytes / g.block_bytes;
  return g;
}

Capabilities what_it_can() {
  Capabilities can;
  can.write_zeroes = can.deallocate = true;
  return can;
}

}  // namespace

const char* name(Crash crash) noexcept {
  switch (crash) {
    case Crash::process:
      return "process";
    case Crash::power_none:
      return "power, nothing kept";
    case Crash::power_all:
      return "power, all kept";
    case Crash::power_ops:
      return "power, whole operations";
    case Crash::power_4k:
      return "power, 4 KiB pieces";
    case Crash::power_512:
      return "power, sectors";
  }
  return "";
}

void DiskImage::read(std::uint64_t offset, std::span<std::byte> into) const noexcept {
  while (!into.empty()) {
    const std::size_t skip = offset % page_bytes;
    const std::size_t n = std::min(into.size(), page_bytes - skip);
    const auto& page = pages_[offset / page_bytes];
    if (page == nullptr) {
      std::memset(into.data(), 0, n);
    } else {
      std::memcpy(into.data(), page->data() + skip, n);
    }
    into = into.subspan(n);
    offset += n;
  }
}

void DiskImage::write(std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const std::size_t skip = offset % page_bytes;
    const std::size_t n = std::min(from.size(), page_bytes - skip);
    auto& page = pages_[offset / page_bytes];
    if (page == nullptr) {
      page = std::make_shared<Page>();
    } else if (page.use_count() > 1) {
      page = std::make_shared<Page>(*page);
    }
    std::memcpy(page->data() + skip, from.data(), n);
    from = from.subspan(n);
    offset += n;
  }
}

void DiskImage::fill(std::uint64_t offset, const Page& page) {
  const auto shared = std::make_shared<Page>(page);
  for (std::size_t i = offset / page_bytes; i < pages_.size(); ++i) {
    if (pages_[i] == nullptr) pages_[i] = shared;
  }
}

class CrashChannel final : public LeafChannel {
 public:
  CrashChannel(CrashDisk& disk, Reactor& core) noexcept : LeafChannel(disk, core), disk_(disk) {}

  Task<Status> read(Lba first, IoVecs into) override {
    HF_CO_CHECK(admit(range_of(first, into), Access::read));
    disk_.land();
    const bool fails = will_fail(DiskOperation::read, range_of(first, into));
    co_await turn();
    if (fails) co_return fail_now(DiskOperation::read);
    std::uint64_t at = offset_of(first);
    for (const IoVec& v : into) {
      disk_.image_.read(at, {v.data, v.size});
      at += v.size;
    }
    co_return Status();
  }
  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    HF_CO_CHECK(admit(range_of(first, from), Access::write));
    DiskEvent event;
    event.durable = durable == Durable::yes;
    event.offset = offset_of(first);
    for (const IoVec& v : from) event.content.insert(event.content.end(), v.data, v.data + v.size);
    co_return co_await change(DiskOperation::write, std::move(event));
  }
  Task<Status> write_zeroes(BlockRange range, Unmap, Durable durable) override {
    HF_CO_CHECK(admit(range, Access::write));
    DiskEvent event;
    event.durable = durable == Durable::yes;
    event.offset = offset_of(range.first);
    event.content.resize(bytes(range.count));
    co_return co_await change(DiskOperation::write, std::move(event));
  }
  // Leaves what can be told from anything that a volume may show.
  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(admit(range, Access::write));
    DiskEvent event;
    event.offset = offset_of(range.first);
    event.content.assign(bytes(range.count), std::byte{0xdd});
    co_return co_await change(DiskOperation::discard, std::move(event));
  }
  Task<Status> flush() override {
    DiskEvent event;
    event.flush = true;
    co_return co_await change(DiskOperation::flush, std::move(event));
  }

 private:
  Task<void> turn() {
    if (disk_.log_ == nullptr) co_return;
    for (std::uint64_t n = 1 + core().random().below(3); n > 0; --n) co_await core().yield();
  }
  bool will_fail(DiskOperation operation, BlockRange range) {
    const std::uint64_t begin = offset_of(range.first);
    return disk_.faults_ != nullptr &&
           disk_.faults_->fails(disk_.number_, operation, begin, begin + bytes(range.count));
  }
  Status fail_now(DiskOperation operation, bool durable = false) {
    disk_.faults_->failed(disk_.number_, operation, durable);
    return fail(Error(Errc::io_error));
  }
  Task<Status> change(DiskOperation operation, DiskEvent event) {
    disk_.land();
    if (disk_.log_ == nullptr) {
      disk_.rewrite(event.offset, event.content.size());
      if (!event.flush) disk_.image_.write(event.offset, event.content);
      co_return Status();
    }
    const BlockRange range{Lba{event.offset / DiskImage::sector_bytes},
                           event.content.size() / DiskImage::sector_bytes};
    if (will_fail(operation, range)) co_return co_await change_in_part(operation, std::move(event));
    const std::size_t begun = disk_.begin(std::move(event));
    co_await turn();
    disk_.end(begun);
    co_return Status();
  }
  // Some sectors have it when the error comes; others get it later, or never. None of it is durable.
  Task<Status> change_in_part(DiskOperation operation, DiskEvent event) {
    const bool durable = event.durable;
    constexpr std::size_t sector = DiskImage::sector_bytes;
    const std::vector<bool> kept = disk_.faults_->kept(event.content.size() / sector);
    std::vector<std::size_t> begun;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const std::size_t first = i;
      const auto ends = [&](std::size_t next) {
        const bool page = (event.offset / sector + next) % (DiskImage::page_bytes / sector) == 0;
        return next == kept.size() || kept[next] != kept[first] || (!kept[first] && page);
      };
      while (!ends(i + 1)) ++i;
      const auto from = event.content.begin();
      std::vector<std::byte> content(from + static_cast<std::ptrdiff_t>(first * sector),
                                     from + static_cast<std::ptrdiff_t>((i + 1) * sector));
      const std::uint64_t offset = event.offset + first * sector;
      if (!kept[first]) {
        const auto after = disk_.faults_->lands_after();
        if (after) disk_.will_land(LateWrite{offset, std::move(content), *after});
        continue;
      }
      DiskEvent piece;
      piece.offset = offset;
      piece.content = std::move(content);
      begun.push_back(disk_.begin(std::move(piece)));
    }
    co_await turn();
    for (const std::size_t piece : begun) disk_.end(piece);
    if (operation == DiskOperation::flush) disk_.drop();
    co_return fail_now(operation, durable);
  }

  CrashDisk& disk_;
};

CrashDisk::CrashDisk(std::string name, const Cores& cores, DiskImage image, CrashLog* log,
                     CrashFaults* faults, std::size_t number)
    : LeafDevice(Identity{name, Uuid::from_name(name), "bdev:///" + name, "Crash disk"}, cores,
                 geometry_of(image.size()), what_it_can()),
      log_(log),
      faults_(faults),
      number_(number),
      first_(image),
      image_(std::move(image)) {}

CrashDisk::CrashDisk(std::string name, const Cores& cores, const CrashedDisk& crashed)
    : CrashDisk(std::move(name), cores, crashed.image, nullptr) {
  for (const LateWrite& write : crashed.late) late_.push_back(Late{write});
}

Task<Result<std::unique_ptr<Channel>>> CrashDisk::open_channel(Reactor& core) {
  std::unique_ptr<Channel> channel = std::make_unique<CrashChannel>(*this, core);
  co_return channel;
}

void CrashDisk::grow(std::uint64_t bytes) {
  image_.resize(bytes);
  set_block_count(bytes / block_bytes());
}

std::size_t CrashDisk::begin(DiskEvent event) {
  event.begun = log_->tick();
  if (!event.late) rewrite(event.offset, event.content.size());
  events_.push_back(std::move(event));
  return events_.size() - 1;
}

void CrashDisk::end(std::size_t index) {
  DiskEvent& event = events_[index];
  event.ended = log_->tick();
  order_.push_back(index);
  if (!event.flush) image_.write(event.offset, event.content);
}

void CrashDisk::will_land(LateWrite write) {
  DiskEvent event;
  event.late = true;
  event.offset = write.offset;
  event.content = write.content;
  const std::size_t begun = begin(std::move(event));
  late_.push_back(Late{std::move(write), begun});
}

void CrashDisk::land() {
  for (std::size_t i = 0; i < late_.size();) {
    if (late_[i].write.after-- > 0) {
      ++i;
      continue;
    }
    const Late late = std::move(late_[i]);
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(i));
    if (log_ != nullptr) {
      end(late.event);
    } else {
      image_.write(late.write.offset, late.write.content);
    }
  }
}

void CrashDisk::rewrite(std::uint64_t offset, std::size_t bytes) {
  std::erase_if(late_, [&](const Late& late) {
    const LateWrite& w = late.write;
    if (w.offset >= offset + bytes || offset >= w.offset + w.content.size()) return false;
    if (log_ != nullptr) events_[late.event].rewritten = log_->now();
    return true;
  });
}

void CrashDisk::moments(Moment from, std::vector<Moment>& into) const {
  for (const DiskEvent& event : events_) {
    if (event.begun >= from) into.push_back(event.begun);
    if (event.ended >= from && event.ended != never) into.push_back(event.ended);
  }
}

// At the moment of a crash, whatever has its time is past.
bool CrashDisk::is_durable(const DiskEvent& event, Moment at) const noexcept {
  if (event.ended > at) return false;
  if (event.durable) return true;
  return std::any_of(events_.begin(), events_.end(), [&](const DiskEvent& f) {
    const bool covers = f.begun < event.dropped || f.begun > event.restored;
    return f.flush && f.begun > event.ended && f.ended <= at && covers;
  });
}

void CrashDisk::drop() {
  const Moment now = log_->tick();
  for (DiskEvent& e : events_) {
    if (e.flush || e.dropped != never || e.ended > now || is_durable(e, now)) continue;
    if (faults_->drops()) e.dropped = now;
  }
}

void CrashDisk::restore() {
  for (DiskEvent& e : events_) {
    if (e.dropped != never && e.restored == never) e.restored = log_->tick();
  }
}

// Writes in the order in which they took effect, those under way last. Some of those that are late come after the crash.
std::vector<const DiskEvent*> CrashDisk::happened(Moment at, Prng& random,
                                                  std::vector<LateWrite>& late) const {
  constexpr std::uint64_t operations = 40;  // of opening the pool, about
  std::vector<const DiskEvent*> happened;
  for (const std::size_t i : order_) {
    if (events_[i].ended <= at && !events_[i].flush) happened.push_back(&events_[i]);
  }
  for (const DiskEvent& event : events_) {
    if (event.begun > at || event.ended <= at || event.flush || event.rewritten <= at) continue;
    if (event.late && random.chance(1, 2)) {
      late.push_back(LateWrite{event.offset, event.content, random.below(operations)});
    } else {
      happened.push_back(&event);
    }
  }
  return happened;
}

CrashedDisk CrashDisk::crashed(Moment at, Crash crash, Prng& random) const {
  CrashedDisk result;
  DiskImage& image = result.image = first_;
  image.resize(image_.size());
  // By sector, what it may be besides what is in `image`.
  std::map<std::uint64_t, std::vector<std::pair<const std::byte*, const DiskEvent*>>> open;
  constexpr std::size_t sector = DiskImage::sector_bytes;
  for (const DiskEvent* event : happened(at, random, result.late)) {
    const bool settled = crash == Crash::process ? event->ended <= at : is_durable(*event, at);
    if (settled) {
      image.write(event->offset, event->content);
      const std::uint64_t first = event->offset / sector;
      open.erase(open.lower_bound(first), open.lower_bound(first + event->content.size() / sector));
      continue;
    }
    for (std::size_t i = 0; i < event->content.size(); i += sector)
      open[(event->offset + i) / sector].emplace_back(event->content.data() + i, event);
  }
  std::map<const DiskEvent*, bool> kept;
  std::uint64_t roll = 0;
  std::uint64_t rolled_for = ~std::uint64_t{0};
  for (const auto& [number, versions] : open) {
    std::size_t choice = 0;  // 0: as it was; n: version n - 1
    switch (crash) {
      case Crash::power_none:
        break;
      case Crash::power_all:
        choice = versions.size();
        break;
      case Crash::power_ops:
        for (std::size_t i = 0; i < versions.size(); ++i) {
          const auto [it, made] = kept.try_emplace(versions[i].second, false);
          if (made) it->second = random.chance(1, 2);
          if (it->second) choice = i + 1;
        }
        break;
      case Crash::power_4k:
        if (number / 8 != rolled_for) roll = random.next();
        rolled_for = number / 8;
        choice = roll % (versions.size() + 1);
        break;
      case Crash::process:
      case Crash::power_512:
        choice = random.below(versions.size() + 1);
        break;
    }
    if (choice == 0) continue;
    std::array<std::byte, sector> content;
    std::copy_n(versions[choice - 1].first, sector, content.begin());
    if (crash == Crash::power_512 && !is_data(content) && random.chance(1, 8)) {
      for (std::byte& b : content) b = static_cast<std::byte>(random.next());
    }
    image.write(number * sector, content);
  }
  return result;
}

}  // namespace holdfast::sim
