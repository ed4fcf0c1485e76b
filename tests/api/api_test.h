// One engine for a test, and the words in which tests of the API speak.
#pragma once

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/engine_process.h"

namespace holdfast::api_test {

namespace v1 = mayastor::v1;
using grpc::StatusCode;
using testing::HasSubstr;
using testing_support::call;

class ApiTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(engine_.start()); }
  void TearDown() override {
    if (HasFailure()) std::printf("%s", engine_.log().c_str());
  }

  // Calls that are expected to succeed.
  v1::Bdev create_bdev(const std::string& uri);
  // malloc devices of 32 MiB named m0, m1, ...; their bdev:/// URIs.
  std::vector<std::string> make_children(int count, const std::string& prefix = "m");
  v1::CreateNexusRequest nexus_request(const std::vector<std::string>& children);
  v1::Nexus create_nexus(const std::vector<std::string>& children);
  v1::Nexus find_nexus();
  v1::Nexus wait_for_state(v1::NexusState state);
  v1::Nexus publish();

  testing_support::ScratchDir scratch_;
  testing_support::EngineProcess engine_{scratch_, "engine"};
  static constexpr const char* uuid = "6e3c062c-293b-46e6-8ab3-ff13c1643437";
  static constexpr const char* other_uuid = "11111111-2222-4333-8444-555555555555";
};

// EXPECT_CODE(call(...), NOT_FOUND, "part of the text");
#define EXPECT_CODE(call_, code_, text_)                                                   \
  do {                                                                                     \
    const grpc::Status& status_ = (call_);                                                 \
    EXPECT_EQ(status_.error_code(), ::grpc::StatusCode::code_) << status_.error_message(); \
    EXPECT_THAT(status_.error_message(), ::testing::HasSubstr(text_));                     \
  } while (false)
#define EXPECT_OK(call_)                                                                  \
  do {                                                                                    \
    const grpc::Status& status_ = (call_);                                                \
    EXPECT_TRUE(status_.ok()) << status_.error_code() << ": " << status_.error_message(); \
  } while (false)

}  // namespace holdfast::api_test
