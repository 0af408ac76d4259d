// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import org.apache.spark.sql.catalyst.expressions._

/** Makes a call that scores some rows score those as well that another operator asks for. */
private object Widening {

  /** The call with a wider guard, or without; None if the other guard cannot be computed where this call is made. */
  def toCover(made: PythonUDF, guard: Option[Expression]): Option[PythonUDF] = made.children.lastOption match {
    case Some(ScoreIf(own)) => guard match {
      case None => Some(made.copy(children = made.children.init))
      case Some(other) if other.semanticEquals(own) => Some(made)
      // rows that a filter has taken out before the other operator sees them must do no harm here
      case Some(other) if Calls.isHarmless(other) =>
        Some(made.copy(children = made.children.init :+ ScoreIf(Or(own, other))))
      case _ => None
    }
    case _ => Some(made)
  }
}
