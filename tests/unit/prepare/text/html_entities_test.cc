// SPDX-License-Identifier: Apache-2.0

#include "server/prepare/text/html_entities.h"

#include "tests/support/catch.h"

namespace embedd {
namespace {

TEST_CASE("References are replaced as html.unescape does, with and without a semicolon") {
  CHECK(UnescapeHtml(U"&lt;b&gt; &amp;amp; &eacute &notit; &copy2024") ==
        U"<b> &amp; \u00e9 \u00acit; \u00a92024");
  CHECK(UnescapeHtml(U"&NotEqualTilde;") == U"\u2242\u0338");
  CHECK(UnescapeHtml(U"&#233;&#xE9;&#XE9&#128;&#0;&#xD800;&#99999999999999999999;&#1;&#xfffe;") ==
        U"\u00e9\u00e9\u00e9\u20ac\ufffd\ufffd\ufffd");
  CHECK(UnescapeHtml(U"& &; &# &#x; &#xg; &bogus; &") == U"& &; &# &#x; &#xg; &bogus; &");
}

TEST_CASE("ftfy's references need a semicolon, and know capitals that HTML does not") {
  CHECK(UnescapeHtmlAsFtfy(U"P&EACUTE;REZ &eacute &amp; &#59; &#x41; &SZLIG; &nTILDE; &#x4g;") ==
        U"P\u00c9REZ &eacute & &#59; A SS &nTILDE; &#x4g;");
}

}  // namespace
}  // namespace embedd
