// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import org.apache.arrow.memory.{AllocationListener, BufferAllocator}
import org.apache.arrow.vector.types.pojo.{Field, Schema}
import org.apache.spark.api.python.PythonFunction
import org.apache.spark.sql.catalyst.expressions.{Expression, PythonUDF, ScalaUDF}
import org.apache.spark.sql.catalyst.plans.logical.{AnalysisHelper, LogicalPlan}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types.{DataType, StructType}
import org.apache.spark.sql.util.ArrowUtils

/** What the bridge needs of Spark's catalyst, and of its API below, that is private: types in Arrow, expressions, plans. */
object CatalystInternals {

  /** The Arrow schema that Spark would send to a Python worker. */
  def arrowSchema(schema: StructType, timeZone: String, largeVarTypes: Boolean): Schema =
    ArrowUtils.toArrowSchema(schema, timeZone, true, largeVarTypes)

  /** The Spark type that an Arrow field is read as. */
  def sparkType(field: Field): DataType = ArrowUtils.fromArrowField(field)

  /** Whether Spark reads an Arrow field as a type; whether NULLs are foreseen does not matter. */
  def isOfType(field: Field, dataType: DataType): Boolean =
    DataType.equalsIgnoreNullability(ArrowUtils.fromArrowField(field), dataType)

  def rootAllocator: BufferAllocator = ArrowUtils.rootAllocator

  def newAllocator(name: String, listener: AllocationListener): BufferAllocator =
    rootAllocator.newChildAllocator(name, listener, 0, Long.MaxValue)

  /** A call of a function that `CoreInternals` or a session has made. */
  def call(name: String, function: AnyRef, result: DataType, arguments: Seq[Expression]): Expression =
    PythonUDF(name, function.asInstanceOf[PythonFunction], result, arguments, CoreInternals.ModelEvalType, true)

  /** Spark ML marks functions as not deterministic to have them called once; they are. */
  def deterministic(plan: LogicalPlan): LogicalPlan = plan.transformAllExpressions {
    case function: ScalaUDF if !function.udfDeterministic => function.copy(udfDeterministic = true)
  }

  /** Tables are made and transformed although another query is being analysed. */
  def duringAnalysis[T](body: => T): T = AnalysisHelper.allowInvokingTransformsInAnalyzer(body)

  /** What expressions depend on beside their arguments' types. */
  def settings: Seq[Any] = {
    val conf = SQLConf.get
    Seq(conf.ansiEnabled, conf.sessionLocalTimeZone, conf.caseSensitiveAnalysis)
  }
}
