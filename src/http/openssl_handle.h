// Owners of OpenSSL's objects: std::unique_ptr<X509, OpensslFree<X509_free>>.
#pragma once

namespace holdfast::http {

template <auto free_function>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const noexcept {
    free_function(object);
  }
};

}  // namespace holdfast::http
