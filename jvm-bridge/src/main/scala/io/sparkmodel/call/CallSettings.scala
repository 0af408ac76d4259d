// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

/** What one call asks for; the analyzer reads it, and no model ever sees it as a column. */
case class CallSettings(
    params: Map[String, Any] = Map.empty,
    onError: Option[String] = None,
    timeoutS: Option[Double] = None,
    version: Option[Int] = None) {
  def isEmpty: Boolean = this == CallSettings()
}

object CallSettings {

  /** The options of ML_PREDICT, as SQL names them. */
  val Keys: Seq[String] = Seq("on_error", "params", "timeout", "version")
}
