// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.access

import scala.annotation.tailrec

/** Compares locations of models as texts; what is read otherwise than it looks is refused by whoever asks. */
private[access] object Places {
  private val Scheme = "([A-Za-z][A-Za-z0-9+.-]*):(.*)".r
  private val Encoded = "%([0-9A-Fa-f]{2})".r

  /** A root covers what is below it: `s3://bucket/models` not `s3://bucket/models-of-others`, `python:team` not `python:teams`. */
  def covers(root: String, location: String): Boolean = {
    val (above, below) = (plain(root), plain(location))
    val separators = above match {
      case Scheme("python", _) => Seq(".", ":")
      case Scheme("table", _) => Seq(".", "@")
      case Scheme("models", _) => Seq("/", "@")
      case _ => Seq("/")
    }
    below == above || above.endsWith(":") && below.startsWith(above) ||
    separators.exists(separator => below.startsWith(above.stripSuffix(separator) + separator))
  }

  /** Whether a location could mean another place than its text begins with: `..`, and paths that are not absolute. */
  def isWayward(location: String): Boolean = plain(location) match {
    case Scheme("file", path) => !path.startsWith("/") || path.startsWith("//") || hasDetours(path)
    case Scheme("python" | "table", name) => name.contains("/")
    case other => hasDetours(other)
  }

  // a fragment or a query can be a part of the path to one reader and none to another
  private def hasDetours(path: String): Boolean =
    path.split("[/\\\\?#;]", -1).exists(part => part == ".." || part == ".") || path.exists(_.isControl)

  /** Decoded as often as it can be; a path of this machine begins with `file:/`. */
  private def plain(location: String): String = decoded(location) match {
    case Scheme("file", path) => s"file:${path.replaceFirst("^//(localhost)?(?=/)", "")}"
    case text @ Scheme(_, _) => text
    case path => s"file:$path"
  }

  @tailrec
  private def decoded(text: String): String = {
    val once = Encoded.replaceAllIn(
      text, found => java.util.regex.Matcher.quoteReplacement(Integer.parseInt(found.group(1), 16).toChar.toString))
    if (once == text) text else decoded(once)
  }
}
