// The library's client for an address.
#pragma once

#include <memory>
#include <string>

namespace httplib {
class ClientImpl;
}

namespace holdfast::http {

// Of "http[s]://host[:port]", whatever path follows; without a scheme it is http. With the certificate and key, if they
// are named, where it is https. nullptr: that is no address. What cannot be read of the files makes it invalid
// (is_valid()).
std::unique_ptr<httplib::ClientImpl> client_of(const std::string& url,
                                               const std::string& certificate_file = "",
                                               const std::string& key_file = "");

}  // namespace holdfast::http
