// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import io.sparkmodel.call.{CallSettings, ModelAnalysisException}
import io.sparkmodel.parse.CreateModel
import io.sparkmodel.sparkml.{SparkMlFunction, SparkMlModel}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkmodel.SqlInternals

/** A model that this JVM evaluates by itself, without a pool, as a statement has made it. */
class LocalFunction(val statement: CreateModel, model: SparkMlModel) extends SparkMlFunction(statement.name, model) {

  def withSettings(settings: CallSettings): LocalFunction =
    if (settings.isEmpty) this
    else throw ModelAnalysisException(
      "INVALID_OPTION", s"Cannot use options in a call of model '${statement.name}'", "it is evaluated without a pool",
      "create another model with other options")
}

/** The models without a pool: those of a session, which are its functions, and those of all sessions of this driver. */
object LocalModels {
  private val models = new ConcurrentHashMap[String, LocalFunction]

  /** What a name means in a session. */
  def find(session: SparkSession, name: String): Option[LocalFunction] = SqlInternals.function(session, name) match {
    case Some(local: LocalFunction) => Some(local)
    case Some(_) => None
    case None => find(name)
  }

  /** One of all sessions. */
  def find(name: String): Option[LocalFunction] = Option(models.get(name.toLowerCase))

  def put(model: LocalFunction): Unit = models.put(model.statement.name.toLowerCase, model)

  def remove(name: String): Boolean = models.remove(name.toLowerCase) != null

  /** All that a session can call. */
  def all(session: SparkSession): Seq[LocalFunction] = {
    val own = SqlInternals.functions(session).collect { case local: LocalFunction => local }
    val hidden = own.map(_.statement.name.toLowerCase).toSet
    (own ++ models.values.asScala.filterNot(one => hidden(one.statement.name.toLowerCase))).sortBy(_.statement.name)
  }

  def names: Seq[String] = models.values.asScala.map(_.statement.name).toSeq.sorted
}
