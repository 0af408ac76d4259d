// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

/** Durations as `5`, `'5s'`, `'200 ms'`, `'2 min'`. */
object Durations {
  // three years: as much as Python's options take, which the system's timers and the wire can count
  private val MostS = 1e8
  private val Form = """\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|seconds?|m|min|minutes?|h|hours?)?\s*""".r

  def seconds(key: String, value: Any): Double = read(value.toString.toLowerCase).filter(s => s > 0 && s <= MostS).getOrElse(
    throw ModelAnalysisException(
      "INVALID_OPTION",
      s"Cannot use option '$key'",
      s"'$value' is not a duration above 0, of at most three years",
      "write it as '5s' or '500ms'"))

  private def read(text: String): Option[Double] = text match {
    case Form(number, unit) => Some(number.toDouble * (Option(unit).map(_.take(2)) match {
      case Some("ms") => 0.001
      case Some("m" | "mi") => 60
      case Some("h" | "ho") => 3600
      case _ => 1
    }))
    case _ => None
  }
}
