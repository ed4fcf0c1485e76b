// Goal: an error that crosses a target and an initiator keeps its meaning, and nothing becomes success.
#include "nvme/errc_status.h"

#include <gtest/gtest.h>

namespace holdfast::nvme {
namespace {

constexpr IoKind kinds[] = {IoKind::read, IoKind::write, IoKind::compare, IoKind::other};

TEST(ErrcStatus, WhatCallersBranchOnSurvivesAHop) {
  constexpr Errc same[] = {
      Errc::ok,           Errc::io_error,          Errc::miscompare,       Errc::out_of_space,
      Errc::out_of_range, Errc::not_connected,     Errc::cancelled,        Errc::reservation_conflict,
      Errc::read_only,    Errc::not_supported,     Errc::invalid_argument, Errc::not_found,
      Errc::busy,         Errc::resource_exhausted};
  for (Errc code : same) {
    for (IoKind kind : kinds) EXPECT_EQ(to_errc(to_nvme(code, kind)), code) << name(code);
  }
  // A path is a path, whyever it is gone.
  EXPECT_EQ(to_errc(to_nvme(Errc::timed_out, IoKind::read)), Errc::not_connected);
  EXPECT_EQ(to_errc(to_nvme(Errc::fenced, IoKind::write)), Errc::not_connected);
}

TEST(ErrcStatus, NoFailureLooksLikeSuccess) {
  for (unsigned code = 1; code <= static_cast<unsigned>(Errc::internal); ++code) {
    for (IoKind kind : kinds) EXPECT_FALSE(to_nvme(static_cast<Errc>(code), kind).ok()) << code;
  }
  for (unsigned code = 1; code < 0x800; ++code) {
    EXPECT_NE(to_errc(CommandStatus(static_cast<StatusCode>(code))), Errc::ok) << code;
  }
}

TEST(ErrcStatus, RetryDelaysAndDoNotRetry) {
  EXPECT_EQ(to_nvme(Errc::not_connected, IoKind::read),
            CommandStatus(StatusCode::internal_path_error, false, 1));
  EXPECT_EQ(to_nvme(Errc::out_of_space, IoKind::write),
            CommandStatus(StatusCode::capacity_exceeded, false, 2));
  EXPECT_EQ(to_nvme(Errc::reservation_conflict, IoKind::write),
            CommandStatus(StatusCode::reservation_conflict, false, 2));
  EXPECT_EQ(to_nvme(Errc::io_error, IoKind::read),
            CommandStatus(StatusCode::unrecovered_read_error, false, 3));
  EXPECT_EQ(to_nvme(Errc::io_error, IoKind::write), CommandStatus(StatusCode::write_fault, false, 3));
  EXPECT_EQ(to_nvme(Errc::out_of_range, IoKind::write), CommandStatus(StatusCode::lba_out_of_range, true));
  EXPECT_TRUE(to_nvme(Errc::miscompare, IoKind::compare).dnr);
}

TEST(ErrcStatus, SomeValuesMeanAnotherThingToIoCommands) {
  EXPECT_EQ(to_errc_of_io(write_to_read_only_range), Errc::read_only);
  EXPECT_EQ(to_errc(StatusCode::connect_invalid_parameters), Errc::not_found);
  for (const StatusCode code :
       {conflicting_attributes, invalid_protection_information, command_size_limit_exceeded}) {
    EXPECT_EQ(to_errc_of_io(code), Errc::invalid_argument);
  }
  EXPECT_EQ(to_errc_of_io(StatusCode::success), Errc::ok);
  EXPECT_EQ(to_errc_of_io(StatusCode::lba_out_of_range), Errc::out_of_range);
}

TEST(ErrcStatus, UnknownValuesGoByTheirType) {
  EXPECT_EQ(to_errc(CommandStatus(static_cast<StatusCode>(0x3ff))), Errc::not_connected);
  EXPECT_EQ(to_errc(CommandStatus(static_cast<StatusCode>(0x7c0))), Errc::io_error);
  EXPECT_EQ(to_errc(CommandStatus(static_cast<StatusCode>(0x0bf))), Errc::io_error);
}

}  // namespace
}  // namespace holdfast::nvme
