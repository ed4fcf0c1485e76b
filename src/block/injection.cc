#include "block/injection.h"

#include <charconv>

#include "base/units.h"
#include "nvme/errc_status.h"

namespace holdfast {

namespace {

Error bad(const Uri& uri, const std::string& key, const std::string& value, const char* allowed) {
  return Error(Errc::invalid_argument, "'" + uri.text + "': parameter '" + key + "' is '" + value +
                                           "', but must be one of " + allowed);
}

// "status-nvme-<sct>-<sc>", numbers decimal or 0x....
Result<Errc> parse_nvme_status(const Uri& uri, const std::string& method) {
  constexpr std::string_view prefix = "status-nvme-";
  const std::string_view rest = std::string_view(method).substr(prefix.size());
  const auto dash = rest.find('-');
  const auto number = [](std::string_view text, unsigned max) -> int {
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    unsigned n = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n, hex ? 16 : 10);
    return ec == std::errc() && end == text.data() + text.size() && n <= max ? static_cast<int>(n) : -1;
  };
  const int type = dash == std::string_view::npos ? -1 : number(rest.substr(0, dash), 7);
  const int code = dash == std::string_view::npos ? -1 : number(rest.substr(dash + 1), 255);
  if (type < 0 || code < 0 || (type == 0 && code == 0)) {
    return Error(Errc::invalid_argument, "'" + uri.text + "': method '" + method +
                                             "' is not status-nvme-<type 0-7>-<code 0-255> of an error");
  }
  nvme::CommandStatus status;
  status.code = static_cast<nvme::StatusCode>(type << 8 | code);
  return nvme::to_errc(status);
}

Status parse_method(const Uri& uri, const std::string& method, Injection& into) {
  into.method = Injection::Method::status;
  if (method == "status") {
    into.status = Errc::io_error;
  } else if (method == "data") {
    into.method = Injection::Method::data;
  } else if (method == "status-lvol-nospace") {
    into.status = Errc::out_of_space;
  } else if (method == "status-submit-read" || method == "status-submit-write") {
    into.status = Errc::resource_exhausted;
  } else if (method == "status-admin") {
    into.status = Errc::internal;
  } else if (method.starts_with("status-nvme-")) {
    HF_TRY(into.status, parse_nvme_status(uri, method));
  } else {
    return bad(uri, "method", method,
               "status, data, status-nvme-<sct>-<sc>, status-lvol-nospace, status-submit-read, "
               "status-submit-write, status-admin");
  }
  return Status();
}

Status parse_operations(const Uri& uri, UriParameters& parameters, Injection& into) {
  if (const auto domain = parameters.take("domain");
      domain && *domain != "child" && *domain != "block" && *domain != "bdev_io") {
    return bad(uri, "domain", *domain, "child, block, bdev_io");
  }
  const std::string op = parameters.take("op").value_or("rw");
  if (op != "r" && op != "w" && op != "rw" && op != "read" && op != "write") {
    return bad(uri, "op", op, "r, w, rw");
  }
  into.reads = op.starts_with('r');
  into.writes = op.find('w') != std::string::npos;
  const std::string stage = parameters.take("stage").value_or("submit");
  if (stage != "submit" && stage != "submission" && stage != "compl" && stage != "completion")
    return bad(uri, "stage", stage, "submit, compl");
  into.stage = stage.starts_with('s') ? Injection::Stage::submit : Injection::Stage::completion;
  return Status();
}

Result<Nanos> take_milliseconds(UriParameters& parameters, const std::string& key, Nanos otherwise) {
  constexpr std::uint64_t longest = std::uint64_t{1} << 40;
  HF_TRY(const auto ms, parameters.take_number(key));
  if (!ms || *ms > longest) return otherwise;
  return Nanos(std::chrono::milliseconds(static_cast<std::int64_t>(*ms)));
}

}  // namespace

Result<Injection> Injection::parse(const Uri& uri, UriParameters& parameters) {
  Injection i;
  HF_CHECK(parse_operations(uri, parameters, i));
  HF_TRY(i.delay, take_milliseconds(parameters, "delay", Nanos{0}));
  const auto method = parameters.take("method");
  if (method) {
    HF_CHECK(parse_method(uri, *method, i));
  } else if (i.delay > Nanos{0}) {
    i.method = Method::none;
  }
  HF_TRY(i.begin, take_milliseconds(parameters, "begin_at", Nanos{0}));
  HF_TRY(i.end, take_milliseconds(parameters, "end_at", no_deadline));
  if (i.end <= i.begin)
    return Error(Errc::invalid_argument, "'" + uri.text + "': end_at must be later than begin_at");
  HF_TRY(const auto offset, parameters.take_number("offset"));
  HF_TRY(const auto blocks, parameters.take_number("num_blk"));
  HF_TRY(const auto retries, parameters.take_number("retries"));
  i.range.first = Lba{offset.value_or(0)};
  i.range.count = blocks.value_or(i.range.count);
  i.times = retries.value_or(i.times);
  if (i.range.count == 0)
    return Error(Errc::invalid_argument, "'" + uri.text + "': num_blk must not be zero");
  return i;
}

bool ActiveInjection::strikes(Injection::Stage stage, bool is_write, BlockRange range, Nanos now) noexcept {
  if (stage != what_.stage || (is_write ? !what_.writes : !what_.reads) || struck_ >= what_.times)
    return false;
  const std::uint64_t first = to_blocks(range.first);
  const std::uint64_t mine = to_blocks(what_.range.first);
  const bool before = first < mine && mine - first >= range.count;
  const bool behind = first >= mine && first - mine >= what_.range.count;
  if (before || behind) return false;
  if (started_ == no_deadline) started_ = now;
  const Nanos since = now - started_;
  if (since < what_.begin || since >= what_.end) return false;
  ++struck_;
  return true;
}

bool ActiveInjection::is_active(Nanos now) const noexcept {
  if (struck_ >= what_.times) return false;
  const Nanos since = started_ == no_deadline ? Nanos{0} : now - started_;
  return since >= what_.begin && since < what_.end;
}

}  // namespace holdfast
