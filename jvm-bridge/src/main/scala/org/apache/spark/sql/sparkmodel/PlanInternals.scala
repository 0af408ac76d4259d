// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import org.apache.spark.api.python.PythonEvalType

/** What the planner rules need of Spark that is private to its packages. */
object PlanInternals {

  /** The kind of Python function that a model is registered as. */
  val ModelEvalType: Int = PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF
}
