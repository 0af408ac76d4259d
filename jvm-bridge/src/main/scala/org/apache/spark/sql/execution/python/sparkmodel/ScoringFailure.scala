// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.execution.python.sparkmodel

import org.apache.spark.QueryContext
import org.apache.spark.api.python.PythonException

/**
 * A failed call as Spark's own exception for failed Python functions, which it is without the bridge.
 *
 * It is made in this package because PySpark 4.1 looks for it in the trace before it hides Java's stack.
 */
object ScoringFailure {
  private val constructors = classOf[PythonException].getConstructors
  private val withCondition = Seq(
    classOf[String], classOf[Map[_, _]], classOf[Throwable], classOf[Array[QueryContext]], classOf[String])

  def apply(message: String, cause: Throwable): Throwable = {
    // its parameters differ from one Spark to the next
    val made = constructors.find(_.getParameterTypes.toSeq == withCondition) match {
      case Some(constructor) =>
        val parameters = Map("msg" -> "A call of a model failed", "traceback" -> message)
        constructor.newInstance("PYTHON_EXCEPTION", parameters, cause, Array.empty[QueryContext], "")
      case None => classOf[PythonException].getConstructor(classOf[String], classOf[Throwable]).newInstance(message, cause)
    }
    made.asInstanceOf[Throwable]
  }
}
