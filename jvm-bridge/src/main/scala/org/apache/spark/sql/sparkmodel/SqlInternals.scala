// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import org.apache.hadoop.conf.Configuration
import org.apache.spark.api.python.PythonFunction
import org.apache.spark.sql.{classic, DataFrame, Dataset, Row, SparkSession}
import org.apache.spark.sql.catalyst.{FunctionIdentifier, InternalRow}
import org.apache.spark.sql.catalyst.analysis.{FunctionRegistry, UnresolvedAttribute}
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.execution.python.UserDefinedPythonFunction
import org.apache.spark.sql.types.StructType

/** What the bridge needs of Spark's sql-core that is private to its packages: sessions and tables. */
object SqlInternals {
  private def state(session: SparkSession) = session.asInstanceOf[classic.SparkSession].sessionState

  // Functions of a session

  /**
   * What makes expressions of a built-in or temporary function; None if there is none of that name. Of others' functions
   * it is told that they are there, not how they are made.
   *
   * Ours are not looked up in the catalog: within a view that hides what the view does not refer to, and elsewhere it notes
   * what a view would refer to.
   */
  def function(session: SparkSession, name: String): Option[Seq[Expression] => Expression] = {
    val registry = state(session).functionRegistry
    def ours(identifier: FunctionIdentifier) =
      registry.lookupFunction(identifier).flatMap(info => Option(info.getClassName)).filter(_.startsWith("io.sparkmodel."))
        .flatMap(_ => registry.lookupFunctionBuilder(identifier))
    val found = identifiers(name).find(registry.functionExists).flatMap(ours)
    found.orElse(state(session).catalog.lookupBuiltinOrTempFunction(name).map(_ => Foreign))
  }

  /** A built-in and a temporary function as the registry knows them: since Spark 4.3 each has a schema of its own. */
  private def identifiers(name: String): Seq[FunctionIdentifier] =
    if (isQualified) Seq("builtin", "session").map(schema => FunctionIdentifier(name, Some(schema), Some("system")))
    else Seq(FunctionIdentifier(name))

  private lazy val isQualified = FunctionRegistry.builtin.listFunction().head.catalog.isDefined

  /** What makes expressions of the temporary functions of a session that are ours. */
  def functions(session: SparkSession): Seq[Seq[Expression] => Expression] = {
    val registry = state(session).functionRegistry
    registry.listFunction().filter { name =>
      registry.lookupFunction(name).exists(info => Option(info.getClassName).exists(_.startsWith("io.sparkmodel.")))
    }.flatMap(registry.lookupFunctionBuilder(_))
  }

  private object Foreign extends (Seq[Expression] => Expression) {
    override def apply(arguments: Seq[Expression]): Expression = throw new UnsupportedOperationException
  }

  /** Whether the current database of the session has a function of that name. */
  def hasPersistentFunction(session: SparkSession, name: String): Boolean =
    state(session).catalog.functionExists(FunctionIdentifier(name))

  def setFunction(session: SparkSession, name: String, builder: Seq[Expression] => Expression): Unit =
    state(session).functionRegistry.createOrReplaceTempFunction(name, builder, "scala_udf")

  def dropFunction(session: SparkSession, name: String): Unit =
    state(session).catalog.dropTempFunction(name, ignoreIfNotExists = true)

  def pythonFunction(udf: AnyRef): AnyRef = udf.asInstanceOf[UserDefinedPythonFunction].func: PythonFunction

  // The session

  def nameParts(session: SparkSession, name: String): Seq[String] = state(session).sqlParser.parseMultipartIdentifier(name)

  def parsePlan(session: SparkSession, sql: String): LogicalPlan = state(session).sqlParser.parsePlan(sql)

  def parseExpression(session: SparkSession, sql: String): Expression = state(session).sqlParser.parseExpression(sql)

  def timeZone(session: SparkSession): String = state(session).conf.sessionLocalTimeZone

  /** What tells sessions of this JVM apart. */
  def id(session: SparkSession): String = session.asInstanceOf[classic.SparkSession].sessionUUID

  def hadoopConfiguration(session: SparkSession): Configuration = state(session).newHadoopConf()

  def hasCatalogSetting(session: SparkSession, name: String): Boolean =
    state(session).conf.contains(s"spark.sql.catalog.$name")

  def catalog(session: SparkSession, name: String): AnyRef = state(session).catalogManager.catalog(name)

  /** The columns that a query names. */
  def columnsOf(session: SparkSession, query: String): Seq[String] =
    state(session).sqlParser.parsePlan(query).collect { case node => node.expressions }.flatten.flatMap(names).distinct

  private def names(expression: Expression): Seq[String] = expression.collect {
    case column: UnresolvedAttribute => column.nameParts.last
  }

  // Tables

  /** All rows of a frame, a partition at a time; Spark forgets the results of an RDD's jobs, not those of a query's. */
  def rows(frame: Dataset[_]): Iterator[InternalRow] =
    frame.asInstanceOf[classic.Dataset[_]].queryExecution.toRdd.map(_.copy()).toLocalIterator

  /** A table without rows, which the optimizer does not know to be empty. */
  def emptyTable(session: SparkSession, schema: StructType): DataFrame =
    session.createDataFrame(session.sparkContext.emptyRDD[Row], schema)

  def analyzed(data: DataFrame): LogicalPlan = data.asInstanceOf[classic.DataFrame].queryExecution.analyzed

  def optimized(data: DataFrame): LogicalPlan = data.asInstanceOf[classic.DataFrame].queryExecution.optimizedPlan

  /** The same table by another plan. */
  def withPlan(data: DataFrame, plan: LogicalPlan): DataFrame =
    classic.Dataset.ofRows(data.asInstanceOf[classic.DataFrame].sparkSession, plan)
}
