// The NVM command set: commands that must be refused.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

// The command is refused with one of the statuses, and the queue goes on.
void refuse(Test& t, const std::function<Command(Session&)>& make,
            std::initializer_list<std::uint16_t> statuses) {
  Session s(t);
  const auto queue = s.io_queue();
  const std::uint32_t blocks = s.block_bytes() > 0 ? 1 : 0;
  Command c = make(s);
  if (!t.ok()) return;
  queue->expect_status("the command", queue->execute(std::move(c)), statuses);
  queue->expect_good("Read behind it", queue->execute(s.read_command(0, blocks)));
}

std::uint32_t unused_nsid(Session& s) {
  const Bytes list = s.identify_data(0x02);
  std::uint32_t free = 1;
  for (std::size_t i = 0; i < 1024 && u32(list, i * 4) == free; ++i) ++free;
  return free;
}

Command beyond_end(Session& s, std::uint8_t opcode) {
  const std::uint32_t bytes = 2 * s.block_bytes();
  Command c = io_command(opcode, s.nsid(), s.blocks() - 1, 2);
  if (opcode == io::read) c.reads(bytes);
  if (opcode == io::write || opcode == io::compare) return s.carry(std::move(c), Bytes(bytes));
  return c;
}

Command range_of_end(Session& s) {
  Bytes list(16);
  put32(list, 4, 16);
  put64(list, 8, s.blocks() - 1);
  Command c(io::dataset_management);
  c.nsid(s.nsid()).dw(11, 4);
  return s.carry(std::move(c), std::move(list));
}

Command larger_than_mdts(Session& s) {
  const unsigned mdts = u8(s.controller(), 77);
  if (!s.test().needs(mdts != 0, "MDTS is 0: no transfer is too large")) return Command(io::flush);
  const std::uint32_t blocks = s.transfer_max() / s.block_bytes() + 1;
  const auto page = static_cast<unsigned>(12 + (s.property(prop::cap, true) >> 48 & 15));
  if (mdts + page > 20) s.test().skip("MDTS is over 1 MiB");
  if (blocks > 65536) s.test().skip("MDTS is more than a command can ask for");
  if (s.blocks() < blocks) s.test().skip("the namespace is smaller than MDTS");
  return io_command(io::read, s.nsid(), 0, blocks).reads(blocks * s.block_bytes());
}

// An opcode whose ONCS bit is clear.
void unsupported(Test& t, unsigned bit, std::uint8_t opcode, const char* name) {
  Session s(t);
  if (!t.needs(!s.has_oncs(bit), fmt::format("ONCS bit {} says that {} is supported", bit, name))) return;
  const auto queue = s.io_queue();
  const Answer a = queue->execute(io_command(opcode, s.nsid(), 0, 1));
  queue->expect_status(name, a, {sc::invalid_opcode});
}

void sgl_too_short(Test& t, std::uint8_t opcode) {
  refuse(t,
         [opcode](Session& s) {
           Command c = io_command(opcode, s.nsid(), 0, 2);
           if (opcode == io::read) return c.reads(s.block_bytes());
           return s.carry(std::move(c), Bytes(s.block_bytes()));
         },
         {sc::sgl_length, sc::invalid_field});
}

void add_ranges(const std::function<void(const char*, const char*, const char*, const char*,
                                         std::function<void(Test&)>)>& add,
                Cases& to) {
  const struct {
    std::uint8_t opcode;
    const char* name;
    const char* section;
    int oncs;
  } ranged[] = {{io::read, "Read", "3.2.4", -1},
                {io::write, "Write", "3.2.6", -1},
                {io::compare, "Compare", "3.2.1", 0},
                {io::write_zeroes, "Write Zeroes", "3.2.8", 3},
                {io::verify, "Verify", "3.2.5", 7}};
  for (const auto& r : ranged) {
    const std::string id = fmt::format("range-{:02x}", r.opcode);
    const std::string title = fmt::format("{} over the end of the namespace", r.name);
    add(id.c_str(), title.c_str(), r.section, "It is refused: LBA out of range", [r](Test& t) {
      refuse(t,
             [&](Session& s) {
               if (r.oncs >= 0) s.needs_oncs(static_cast<unsigned>(r.oncs), r.name);
               return beyond_end(s, r.opcode);
             },
             {sc::lba_range});
    });
    if (r.oncs >= 0) to.back().level = Level::optional;
    to.back().writes = r.opcode == io::write || r.opcode == io::write_zeroes;
  }
}

void add_unsupported(const std::function<void(const char*, const char*, const char*, const char*,
                                              std::function<void(Test&)>)>& add) {
  const struct {
    unsigned oncs;
    std::uint8_t opcode;
    const char* name;
  } optional[] = {{0, io::compare, "Compare"},
                  {1, io::write_uncorrectable, "Write Uncorrectable"},
                  {2, io::dataset_management, "Dataset Management"},
                  {3, io::write_zeroes, "Write Zeroes"},
                  {5, io::resv_report, "Reservation Report"},
                  {7, io::verify, "Verify"},
                  {8, io::copy, "Copy"}};
  for (const auto& o : optional) {
    const std::string id = fmt::format("unsupported-{:02x}", o.opcode);
    const std::string title = fmt::format("{} that ONCS does not have", o.name);
    add(id.c_str(), title.c_str(), "3; Base 2.0, 5.17.2.1 (ONCS)",
        "An optional command that is not there is an invalid opcode",
        [o](Test& t) { unsupported(t, o.oncs, o.opcode, o.name); });
  }
}

}  // namespace

void add_io_error_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run) {
    to.push_back({std::string("nvm.error.") + id, title, Spec::nvm, section, requirement, Level::mandatory,
                  false, std::move(run)});
  };
  add("nsid-zero", "NSID 0", "Base 2.0, 3.2.1", "It is refused: invalid namespace", [](Test& t) {
    refuse(t, [](Session& s) { return s.read_command(0, 1).nsid(0); }, {sc::invalid_nsid});
  });
  add("nsid-all", "Read of NSID FFFFFFFFh", "Base 2.0, 3.2.1", "It is refused: invalid namespace",
      [](Test& t) {
        refuse(t, [](Session& s) { return s.read_command(0, 1).nsid(nsid_all); },
               {sc::invalid_nsid, sc::invalid_field});
      });
  add("nsid-unused", "An NSID that is not active", "Base 2.0, 3.2.1",
      "It is refused: invalid namespace or invalid field", [](Test& t) {
        refuse(t, [](Session& s) { return s.read_command(0, 1).nsid(unused_nsid(s)); },
               {sc::invalid_nsid, sc::invalid_field});
      });
  add("flush-nsid", "Flush of an NSID that is not active", "Base 2.0, 7.1",
      "It is refused: invalid namespace", [](Test& t) {
        refuse(t, [](Session& s) { return Command(io::flush).nsid(unused_nsid(s)); },
               {sc::invalid_nsid, sc::invalid_field});
      });
  add_ranges(add, to);
  add("range-wrap", "An LBA near 2^64", "3.2.4", "It is refused: LBA out of range", [](Test& t) {
    refuse(t,
           [](Session& s) {
             return io_command(io::read, s.nsid(), ~std::uint64_t{0}, 2).reads(2 * s.block_bytes());
           },
           {sc::lba_range});
  });
  add("dsm-range", "Deallocating over the end", "3.2.3", "It is refused: LBA out of range", [](Test& t) {
    refuse(t,
           [](Session& s) {
             s.needs_oncs(2, "Dataset Management");
             return range_of_end(s);
           },
           {sc::lba_range});
  });
  to.back().writes = true;
  add("mdts", "A transfer over MDTS", "Base 2.0, 5.17.2.1 (MDTS)", "It is refused: invalid field",
      [](Test& t) { refuse(t, larger_than_mdts, {sc::invalid_field}); });
  for (const unsigned opcode : {0x7eu, 0x3cu}) {
    const std::string id = fmt::format("opcode-{:02x}", opcode);
    add(id.c_str(), "An I/O opcode that does not exist", "3", "It is refused: invalid opcode",
        [opcode](Test& t) {
          refuse(
              t,
              [opcode](Session& s) { return io_command(static_cast<std::uint8_t>(opcode), s.nsid(), 0, 1); },
              {sc::invalid_opcode});
        });
  }
  add_unsupported(add);
  add("sgl-short", "Read into an SGL that is too short", "Base 2.0, 4.1.2",
      "It is refused: data SGL length invalid", [](Test& t) { sgl_too_short(t, io::read); });
  add("sgl-short-write", "Write from an SGL that is too short", "Base 2.0, 4.1.2",
      "It is refused: data SGL length invalid", [](Test& t) { sgl_too_short(t, io::write); });
  to.back().writes = true;
  for (const unsigned type : {0x20u, 0x40u, 0x50u}) {
    const std::string id = fmt::format("sgl-type-{:02x}", type);
    add(id.c_str(), "An SGL type that is not for NVMe/TCP", "Base 2.0, 4.1.2; NVMe/TCP 1.0, 3.3.2",
        "It is refused: SGL descriptor type invalid", [type](Test& t) {
          refuse(t,
                 [type](Session& s) {
                   return s.read_command(0, 1).sgl(0, s.block_bytes(), static_cast<std::uint8_t>(type));
                 },
                 {sc::sgl_type, sc::invalid_field});
        });
  }
  add("psdt", "PRPs", "Base 2.0, 3.3.3.1", "Fabrics commands use SGLs only: invalid field", [](Test& t) {
    refuse(t, [](Session& s) { return s.read_command(0, 1).flags(0); }, {sc::invalid_field});
  });
  add("fuse-read", "FUSE on a Read", "Base 2.0, 3.3.3.1, 3.4.2", "Read is no half of a fused pair",
      [](Test& t) {
        refuse(t, [](Session& s) { return s.read_command(0, 1).flags(0x42); },
               {sc::invalid_field, sc::missing_fused});
      });
  add("protection", "PRACT without protection information", "3.2.4, 5.2", "It is refused or ignored",
      [](Test& t) {
        refuse(t, [](Session& s) { return s.read_command(0, 1).dw(12, 1u << 29); },
               {sc::success, sc::invalid_field, 0x181});
      });
}

}  // namespace holdfast::cli::conformance
