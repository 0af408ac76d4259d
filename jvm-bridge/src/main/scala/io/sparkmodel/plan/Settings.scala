// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.internal.SQLConf

/** The session settings of the bridge; all are switches, and on unless set to false. */
object Settings {
  val BridgeEnabled = "spark.sparkmodel.bridge.enabled"
  val ScoreOnce = "spark.sparkmodel.rules.scoreOnce"
  val Conditional = "spark.sparkmodel.rules.conditional"
  val Reuse = "spark.sparkmodel.rules.reuse"
  val Join = "spark.sparkmodel.rules.join"

  /** What the session that plans or runs this query says. */
  def isOn(key: String): Boolean = {
    val value = SQLConf.get.getConfString(key, "true")
    value.trim.toLowerCase.toBooleanOption.getOrElse(
      throw new IllegalArgumentException(
        s"[INVALID_OPTION] Cannot read setting '$key': '$value' is not a boolean. Hint: set it to true or false."))
  }
}

/** Which rules apply to one plan; read once, so that a plan is not made by two minds. */
case class Rules(scoreOnce: Boolean, conditional: Boolean, together: Boolean, reuse: Boolean, join: Boolean)

object Rules {
  def ofSession: Rules = Rules(
    scoreOnce = Settings.isOn(Settings.ScoreOnce),
    // Spark's Python path would send the condition to the model as one more argument
    conditional = Settings.isOn(Settings.BridgeEnabled) && Settings.isOn(Settings.Conditional),
    // a Python worker takes one function over batches at a time
    together = Settings.isOn(Settings.BridgeEnabled),
    reuse = Settings.isOn(Settings.Reuse),
    join = Settings.isOn(Settings.Join))
}
