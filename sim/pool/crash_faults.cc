#include "sim/pool/crash_faults.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"

namespace holdfast::sim {
namespace {

enum class Place : std::uint8_t { anywhere, label, journal, data };
enum class Length : std::uint8_t { once, some, lasting };
constexpr const char* operation_names[] = {"read", "write", "flush", "discard"};

constexpr unsigned bit(DiskOperation operation) { return 1U << static_cast<unsigned>(operation); }
constexpr unsigned changes =
    bit(DiskOperation::write) | bit(DiskOperation::flush) | bit(DiskOperation::discard);
constexpr unsigned everything = changes | bit(DiskOperation::read);

// At least one of them.
template <std::size_t n>
void draw_some(Prng& random, bool (&which)[n]) {
  for (bool& one : which) one = random.chance(1, 2);
  which[random.below(n)] = true;
}

template <std::size_t n>
std::size_t draw_one(Prng& random, const bool (&which)[n]) {
  for (;;) {
    const std::size_t i = random.below(n);
    if (which[i]) return i;
  }
}

}  // namespace

std::string text_of(const CrashFault& fault) {
  std::string what;
  for (unsigned i = 0; i < disk_operation_count; ++i) {
    if (fault.is_about(static_cast<DiskOperation>(i)))
      what += (what.empty() ? "" : ", ") + std::string(operation_names[i]);
  }
  const std::string many =
      fault.fail == CrashFault::lasting ? "all" : fmt::format("{} after {}", fault.fail, fault.pass);
  return fmt::format("disk {}: {} in [{:#x}, {:#x}): {}", fault.disk, what, fault.begin, fault.end, many);
}

CrashFaults::CrashFaults(std::uint64_t seed)
    : random_(seed),
      drop_random_(seed ^ 0x6472'6f70),
      one_in_(static_cast<std::uint32_t>(1 + random_.below(6))) {
  for (unsigned i = 0; i < disk_operation_count; ++i) {
    if (random_.chance(2, 3)) kinds_.push_back(1U << i);
  }
  if (random_.chance(1, 2)) kinds_.push_back(changes);
  if (random_.chance(1, 2) || kinds_.empty()) kinds_.push_back(everything);
  commits_ = random_.chance(1, 2);
  draw_some(random_, places_);
  draw_some(random_, lengths_);
  late_ = random_.chance(1, 2);
  drops_ = drop_random_.chance(1, 2);
}

void CrashFaults::draw(std::size_t disks, std::uint64_t journal_begin, std::uint64_t journal_end) {
  CrashFault fault;
  if (commits_ && random_.chance(1, 4)) {
    fault.operations = bit(random_.chance(1, 2) ? DiskOperation::write : DiskOperation::flush);
    fault.begin = journal_begin;
    fault.end = journal_end;
    fault.pass = random_.below(3);
    return add(fault);
  }
  if (!random_.chance(1, one_in_)) return;
  fault.disk = random_.below(disks);
  fault.operations = kinds_[random_.below(kinds_.size())];
  switch (static_cast<Place>(draw_one(random_, places_))) {
    case Place::anywhere:
      break;
    case Place::label:
      fault.end = MiB;
      break;
    case Place::journal:
      fault.disk = 0;
      fault.begin = journal_begin;
      fault.end = journal_end;
      break;
    case Place::data:
      fault.begin = fault.disk == 0 ? journal_end : MiB;
      break;
  }
  fault.pass = random_.chance(1, 2) ? 0 : random_.below(12);
  switch (static_cast<Length>(draw_one(random_, lengths_))) {
    case Length::once:
      break;
    case Length::some:
      fault.fail = 2 + random_.below(10);
      break;
    case Length::lasting:
      fault.fail = CrashFault::lasting;
      break;
  }
  add(fault);
}

void CrashFaults::add(const CrashFault& fault) {
  HF_LOG(info, "sim", "disks are going to fail", {"fault", text_of(fault)});
  faults_.push_back(fault);
}

bool CrashFaults::any() const noexcept {
  return std::any_of(faults_.begin(), faults_.end(), [](const CrashFault& f) { return f.fail > 0; });
}

bool CrashFaults::fails(std::size_t disk, DiskOperation operation, std::uint64_t begin, std::uint64_t end) {
  bool fails = false;
  for (CrashFault& fault : faults_) {
    const bool there = operation == DiskOperation::flush || (begin < fault.end && fault.begin < end);
    if (fault.disk != disk || !fault.is_about(operation) || !there || fault.fail == 0) continue;
    if (fault.pass > 0) {
      --fault.pass;
      continue;
    }
    if (fault.fail != CrashFault::lasting) --fault.fail;
    fails = true;
  }
  return fails;
}

std::vector<bool> CrashFaults::kept(std::size_t sectors) {
  switch (random_.below(4)) {
    case 0:
      return std::vector<bool>(sectors, false);
    case 1:
      return std::vector<bool>(sectors, true);
    case 2: {
      std::vector<bool> first(sectors, false);
      std::fill_n(first.begin(), random_.below(sectors + 1), true);
      return first;
    }
    default: {
      std::vector<bool> any(sectors);
      for (std::size_t i = 0; i < sectors; ++i) any[i] = random_.chance(1, 2);
      return any;
    }
  }
}

std::optional<std::uint64_t> CrashFaults::lands_after() {
  if (!late_ || random_.chance(1, 3)) return std::nullopt;
  return random_.below(std::uint64_t{2} << random_.below(9));
}

void CrashFaults::failed(std::size_t disk, DiskOperation operation, bool durable) {
  counts_.resize(std::max(counts_.size(), disk + 1));
  ++(operation == DiskOperation::read ? counts_[disk].reads : counts_[disk].changes);
  ++failures_;
  if (operation == DiskOperation::flush || durable) ++failed_flushes_;
  HF_LOG(info, "sim", "a disk failed", {"disk", disk},
         {"operation", operation_names[static_cast<unsigned>(operation)]});
}

}  // namespace holdfast::sim
