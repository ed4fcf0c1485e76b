// The contract is what others were built against: a field that changes its number or type breaks them, and no
// compiler says so. contract.txt lists every call, field and enum value; a difference needs a very good
// reason.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>

#include "holdfast/v1/pool.pb.h"
#include "holdfast/v1/rebuild.pb.h"
#include "holdfast/v1/record.pb.h"
#include "holdfast/v1/report.pb.h"
#include "mayastor/v1/bdev.pb.h"
#include "mayastor/v1/common.pb.h"
#include "mayastor/v1/host.pb.h"
#include "mayastor/v1/json.pb.h"
#include "mayastor/v1/nexus.pb.h"
#include "mayastor/v1/pool.pb.h"
#include "mayastor/v1/registration.pb.h"
#include "mayastor/v1/replica.pb.h"
#include "mayastor/v1/snapshot.pb.h"
#include "mayastor/v1/snapshot_rebuild.pb.h"
#include "mayastor/v1/stats.pb.h"
#include "mayastor/v1/test.pb.h"

namespace {

namespace pb = google::protobuf;
using Lines = std::vector<std::string>;

std::string type_of(const pb::FieldDescriptor& f) {
  if (f.message_type() != nullptr) return f.message_type()->full_name();
  if (f.enum_type() != nullptr) return f.enum_type()->full_name();
  return f.type_name();
}

void list_enum(const pb::EnumDescriptor& e, Lines& to) {
  for (int i = 0; i < e.value_count(); ++i) {
    to.push_back("enum " + e.full_name() + " " + e.value(i)->name() + " = " +
                 std::to_string(e.value(i)->number()));
  }
}

void list_message(const pb::Descriptor& m, Lines& to) {
  to.push_back("message " + m.full_name());
  for (int i = 0; i < m.field_count(); ++i) {
    const auto& f = *m.field(i);
    std::string line = "field " + m.full_name() + "." + f.name() + " = " + std::to_string(f.number()) + " ";
    if (f.is_repeated()) line += "repeated ";
    if (f.real_containing_oneof() != nullptr) line += "oneof ";
    if (f.has_optional_keyword()) line += "optional ";
    to.push_back(line + type_of(f));
  }
  for (int i = 0; i < m.nested_type_count(); ++i) list_message(*m.nested_type(i), to);
  for (int i = 0; i < m.enum_type_count(); ++i) list_enum(*m.enum_type(i), to);
}

void list_service(const pb::ServiceDescriptor& s, Lines& to) {
  for (int i = 0; i < s.method_count(); ++i) {
    const auto& m = *s.method(i);
    to.push_back("call " + m.full_name() + " " + m.input_type()->full_name() + " -> " +
                 (m.server_streaming() ? "stream " : "") + m.output_type()->full_name());
  }
}

Lines contract() {
  namespace api = mayastor::v1;
  Lines lines;
  for (const pb::FileDescriptor* file :
       {api::Bdev::descriptor()->file(), api::MayastorFeatures::descriptor()->file(),
        api::BlockDevice::descriptor()->file(), api::JsonRpcRequest::descriptor()->file(),
        api::Nexus::descriptor()->file(), api::Pool::descriptor()->file(),
        api::RegisterRequest::descriptor()->file(), api::Replica::descriptor()->file(),
        api::SnapshotInfo::descriptor()->file(), api::SnapshotRebuild::descriptor()->file(),
        api::IoStats::descriptor()->file(), api::TestFeatures::descriptor()->file(),
        holdfast::v1::PoolDetail::descriptor()->file(), holdfast::v1::ReplicaRebuild::descriptor()->file(),
        holdfast::v1::ReplicaRecord::descriptor()->file(), holdfast::v1::Report::descriptor()->file()}) {
    EXPECT_TRUE(file->package() == "mayastor.v1" || file->package() == "holdfast.v1");
    for (int i = 0; i < file->message_type_count(); ++i) list_message(*file->message_type(i), lines);
    for (int i = 0; i < file->enum_type_count(); ++i) list_enum(*file->enum_type(i), lines);
    for (int i = 0; i < file->service_count(); ++i) list_service(*file->service(i), lines);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST(Contract, CallsFieldsAndValuesAreAsAgreed) {
  std::ifstream in(HF_CONTRACT_FILE);
  Lines agreed;
  for (std::string line; std::getline(in, line);) agreed.push_back(line);
  ASSERT_FALSE(agreed.empty());
  const Lines now = contract();
  Lines missing, added;
  std::set_difference(agreed.begin(), agreed.end(), now.begin(), now.end(), std::back_inserter(missing));
  std::set_difference(now.begin(), now.end(), agreed.begin(), agreed.end(), std::back_inserter(added));
  EXPECT_THAT(missing, testing::IsEmpty());
  EXPECT_THAT(added, testing::IsEmpty()) << "what is new in the contract is listed in contract.txt, too";
}

}  // namespace
