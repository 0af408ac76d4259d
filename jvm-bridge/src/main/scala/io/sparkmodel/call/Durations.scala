// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

/** Durations as `5`, `'5s'`, `'200 ms'`, `'2 min'`. */
object Durations {
  private val Form = """\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?)?\s*""".r

  def seconds(key: String, value: Any): Double = value.toString.toLowerCase match {
    case Form(number, unit) if number.toDouble > 0 => number.toDouble * (Option(unit).map(_.take(2)) match {
      case Some("ms") => 0.001
      case Some("m" | "mi") => 60
      case Some("h" | "ho") => 3600
      case _ => 1
    })
    case _ => throw ModelAnalysisException(
      "INVALID_OPTION", s"Cannot use option '$key'", s"'$value' is not a duration above 0", "write it as '5s' or '500ms'")
  }
}
