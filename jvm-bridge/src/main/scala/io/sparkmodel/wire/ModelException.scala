// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import com.fasterxml.jackson.databind.JsonNode

/**
 * An error with the parts that the protocol's error JSON has; its message shows all of them.
 *
 * @param condition stable upper-case name
 * @param what the action that failed, without a final stop
 * @param fact what was seen
 * @param hint one action that helps, or empty
 * @param details text from elsewhere, such as the model's traceback, or empty
 */
class ModelException(
    val condition: String,
    val what: String,
    val fact: String,
    val hint: String = "",
    val details: String = "",
    cause: Throwable = null)
  extends RuntimeException(ModelException.message(condition, what, fact, hint, details), cause)

object ModelException {

  /** The error in a worker's answer. */
  private[wire] def read(node: JsonNode): ModelException = {
    def text(key: String, otherwise: String): String = Option(node.get(key)).fold(otherwise)(_.asText)
    new ModelException(
      text("condition", "INTERNAL_ERROR"),
      text("what", "Cannot talk to a worker"),
      text("fact", ""),
      text("hint", ""),
      text("details", ""))
  }

  private def message(condition: String, what: String, fact: String, hint: String, details: String): String = {
    val line = s"[$condition] $what: ${sentence(fact)}"
    val full = if (hint.isEmpty) line else s"$line Hint: ${sentence(hint)}"
    if (details.isEmpty) full else s"$full\n\n${details.stripTrailing}"
  }

  // a model's own message may have several lines
  private def sentence(text: String): String = {
    val line = text.trim.split("\\s+").mkString(" ")
    if (line.endsWith(".") || line.endsWith("!") || line.endsWith("?")) line else line + "."
  }
}
