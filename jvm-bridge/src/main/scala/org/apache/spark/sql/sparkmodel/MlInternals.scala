// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import org.apache.hadoop.conf.Configuration
import org.apache.spark.sql.{classic, DataFrame, SparkSession}
import org.apache.spark.sql.catalyst.expressions.{Expression, ScalaUDF}
import org.apache.spark.sql.catalyst.plans.logical.{AnalysisHelper, LogicalPlan}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types.StructType

/** What models of Spark ML need of Spark that is private to its packages. */
object MlInternals {

  def hadoopConfiguration(spark: SparkSession): Configuration = classicOf(spark).sessionState.newHadoopConf()

  /** A table without rows, which the optimizer does not know to be empty. */
  def emptyTable(spark: SparkSession, schema: StructType): DataFrame =
    spark.createDataFrame(spark.sparkContext.emptyRDD[org.apache.spark.sql.Row], schema)

  def analyzed(data: DataFrame): LogicalPlan = data.asInstanceOf[classic.DataFrame].queryExecution.analyzed

  def optimized(data: DataFrame): LogicalPlan = data.asInstanceOf[classic.DataFrame].queryExecution.optimizedPlan

  /** The same table by another plan. */
  def withPlan(data: DataFrame, plan: LogicalPlan): DataFrame =
    classic.Dataset.ofRows(data.asInstanceOf[classic.DataFrame].sparkSession, plan)

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

  /** The columns that a query names. */
  def columnsOf(spark: SparkSession, query: String): Seq[String] =
    classicOf(spark).sessionState.sqlParser.parsePlan(query).collect { case node => node.expressions }
      .flatten.flatMap(names).distinct

  private def names(expression: Expression): Seq[String] = expression.collect {
    case column: org.apache.spark.sql.catalyst.analysis.UnresolvedAttribute => column.nameParts.last
  }

  private def classicOf(spark: SparkSession): classic.SparkSession = spark.asInstanceOf[classic.SparkSession]
}
